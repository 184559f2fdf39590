#!/usr/bin/env bash
# Rolls an overlay out to a cluster with a given image, and goes back if that does not become healthy.
#
#   deploy/kubernetes/rollout.sh OVERLAY IMAGE      e.g. production registry.example.com/colony-gateway:1.2.0
#
# First a job runs the migrations. They only add, so running programs are not disturbed. Then gateways and bees are replaced.
# Then comes the gate: every gateway must be ready, and `colony-gateway check` must not report down unless it did so before.
# If a step fails, the previous gateways and bees come back and the exit code is 1. Needs kubectl with access to the overlay's
# namespace. ROLLOUT_TIMEOUT is 10m unless set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 2 ] || { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" >&2 && exit 2; }
overlay=$here/overlays/$1 image=$2 timeout=${ROLLOUT_TIMEOUT:-10m}
[ -d "$overlay" ] || { echo "rollout.sh: no overlay $1" >&2 && exit 2; }
namespace=$(sed -n 's/^namespace: //p' "$overlay/kustomization.yaml")

say() { printf '%s\n' "$*"; }
in_namespace() { kubectl --namespace "$namespace" "$@"; }
with_image() { kubectl kustomize "$1" | sed "s|^\( *\)image: registry\.example\.com/colony-gateway:latest\$|\1image: $image|"; }

# The workloads to roll back. Gateways that share an inbox are a Deployment.
gateways=statefulset
if grep -q components/shared-inbox "$overlay/kustomization.yaml"; then gateways=deployment; fi
workloads=("$gateways/colony-gateway" statefulset/colony-gateway-bee)
had=()
for workload in "${workloads[@]}"; do
  if in_namespace get "$workload" >/dev/null 2>&1; then had+=("$workload"); fi
done

back() {
  trap - ERR
  say "rollout.sh: $1; going back"
  for workload in "${had[@]}"; do in_namespace rollout undo "$workload"; done
  for workload in "${had[@]}"; do in_namespace rollout status "$workload" --timeout "$timeout"; done
  exit 1
}

migrate() {
  in_namespace delete job colony-gateway-migrate --ignore-not-found --wait
  with_image "$here/jobs" | in_namespace apply --selector app.kubernetes.io/component=migrate -f -
  in_namespace wait --for=condition=complete job/colony-gateway-migrate --timeout "$timeout"
}

# The exit code of `colony-gateway check` in a pod: 0 healthy, 1 degraded, 2 down.
check_in() {
  local code=0
  in_namespace exec "$1" --container gateway -- /usr/local/bin/colony-gateway check || code=$?
  return "$code"
}

# Only the pods that stay: a pod that a Deployment has replaced drains for a while and is rightly not ready.
pods() {
  in_namespace get pods --selector app.kubernetes.io/name=colony-gateway --output \
    go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}pod/{{.metadata.name}}{{"\n"}}{{end}}{{end}}'
}

gate() {
  local all pod code
  all=$(pods) && [ -n "$all" ] || return 1
  for pod in $all; do
    in_namespace exec "$pod" --container gateway -- /usr/local/bin/colony-gateway check --ready || return 1
    code=0
    check_in "$pod" || code=$?
    # Going back does not help a gateway that was down before.
    [ "$code" -lt 2 ] || [ "$before" -ge 2 ] || return 1
  done
}

before=0
one=$(pods 2>/dev/null | head -n 1) || true
[ -z "$one" ] || check_in "$one" >/dev/null 2>&1 || before=$?
# The overlay also makes its namespace, but the jobs need the namespace first.
if ! kubectl get namespace "$namespace" >/dev/null 2>&1; then kubectl apply -f "$overlay/namespace.yaml"; fi
migrate || { say "rollout.sh: the migrations failed; nothing was replaced" && exit 1; }
with_image "$overlay" | kubectl apply -f - || back "the cluster refused the overlay"
for workload in "${workloads[@]}"; do
  in_namespace rollout status "$workload" --timeout "$timeout" || back "$workload did not become ready"
done
gate || back "a gateway is not healthy"
say "rollout.sh: $image is live in $namespace"
