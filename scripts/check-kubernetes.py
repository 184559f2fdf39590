"""Checks rendered Kubernetes objects against the schemas of the oldest and the newest supported version. Also checks that
selectors find pods, that claims and mounts exist, and that no object contains a secret."""

import sys

import cloudcoil.models.prometheus_operator.v1 as operator
import kubernetes_validate
import pydantic
import yaml

VERSIONS = ("1.30", "1.37")


def pod_of(item):
    return item.get("spec", {}).get("template", {}) if item["kind"] in ("StatefulSet", "Deployment", "Job") else {}


def operator_faults(item):
    try:
        read = getattr(operator, item["kind"]).model_validate(item)
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    # Reading drops the keys that the operator does not know.
    return unknown(item, read.model_dump(mode="json", by_alias=True, exclude_unset=True), "")


def unknown(given, read, path):
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in read:
                yield f"{path}{key}: unknown"
            else:
                yield from unknown(value, read[key], f"{path}{key}.")
    elif isinstance(given, list):
        for index, (value, known) in enumerate(zip(given, read)):
            yield from unknown(value, known, f"{path}{index}.")


def faults(items):
    namespaces = {item["metadata"].get("namespace") for item in items}
    for item in items:
        name = f"{item['kind']}/{item['metadata']['name']} in {item['metadata'].get('namespace')}"
        if item["kind"] == "Secret":
            yield f"{name}: objects may refer to a secret, but the repository must not contain one"
        if item["apiVersion"] == "monitoring.coreos.com/v1":
            yield from (f"{name}, Prometheus operator: {fault}" for fault in operator_faults(item))
        else:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    yield f"{name}, Kubernetes {version}: {error.message}"
        spec = pod_of(item).get("spec")
        if spec:
            volumes = {volume["name"] for volume in spec.get("volumes", [])}
            volumes |= {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
            for container in spec["containers"]:
                for mount in container.get("volumeMounts", []):
                    if mount["name"] not in volumes:
                        yield f"{name}: no volume {mount['name']}"
                if not container["securityContext"].get("readOnlyRootFilesystem"):
                    yield f"{name}: the root of {container['name']} is writable"
                if "limits" not in container.get("resources", {}):
                    yield f"{name}: {container['name']} has no limits"
    for namespace in namespaces:
        inside = [item for item in items if item["metadata"].get("namespace") == namespace]
        pods = [pod_of(item)["metadata"].get("labels", {}) for item in inside if pod_of(item)]
        for item in inside:
            selector = item.get("spec", {}).get("selector") if item["kind"] == "Service" else None
            if item["kind"] in ("PodDisruptionBudget", "PodMonitor"):
                selector = item["spec"]["selector"]["matchLabels"]
            if item["kind"] == "NetworkPolicy":
                selector = item["spec"]["podSelector"]["matchLabels"]
            if selector and not any(selector.items() <= labels.items() for labels in pods):
                yield f"{item['kind']}/{item['metadata']['name']} in {namespace}: selects nothing"


def main(path):
    with open(path, encoding="utf-8") as file:
        items = [item for item in yaml.safe_load_all(file) if item]
    found = list(faults(items))
    print("\n".join(found) or f"{len(items)} objects")
    return 1 if found or not items else 0


sys.exit(main(sys.argv[1]))
