#!/usr/bin/env bash
# Checks a running gateway against openapi.yaml: ./scripts/check-openapi.sh [PROGRAM]
#
# schemathesis makes good and bad requests from the document and checks the status, headers and body of each answer against
# it. Needs Python 3 with venv; schemathesis itself is installed below target/. The gateway runs on a free loopback port with
# its own directory, and is stopped afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${1:-target/debug/colony-gateway}
venv=target/schemathesis
version=4.32.5

if [ ! -x "$venv/bin/schemathesis" ] || ! "$venv/bin/schemathesis" --version | grep -qF "$version"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

data=$(mktemp -d)
gateway=
# shellcheck disable=SC2329 # the trap calls it
finish() {
  [ -z "$gateway" ] || { kill "$gateway" && wait "$gateway"; } 2>/dev/null || true
  rm -rf "$data"
}
trap finish EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
token=$(python3 -c 'import secrets; print(secrets.token_hex(16))')
export STRIPE_WEBHOOK_SECRET=whsec_schema

# The caller's environment must not configure this gateway.
env -i PATH="$PATH" STRIPE_WEBHOOK_SECRET="$STRIPE_WEBHOOK_SECRET" GATEWAY_ADMIN_TOKEN="$token" USE_COLONY_OS=false \
  GATEWAY_DATA_DIR="$data" GATEWAY_LISTEN="127.0.0.1:$port" GATEWAY_ADMIN_LISTEN="127.0.0.1:$port" \
  "$program" serve >"$data/log" 2>&1 &
gateway=$!
for _ in $(seq 100); do
  python3 -c "import urllib.request; urllib.request.urlopen('$url/readyz')" 2>/dev/null && break
  kill -0 "$gateway" 2>/dev/null || { cat "$data/log" >&2; exit 1; }
  sleep 0.1
done

status=0
repository=$PWD
# Files that schemathesis keeps between runs go below target/.
cd "$venv"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$repository/tests/schemathesis bin/schemathesis \
  --config-file "$repository/tests/schemathesis/schemathesis.toml" run "$repository/openapi.yaml" --url "$url" \
  --header "Authorization: Bearer $token" --max-examples 30 --seed 7 --continue-on-failure --no-color || status=$?
if grep -F '"level":"ERROR"' "$data/log" | grep -F panicked; then status=1; fi
[ "$status" -eq 0 ] || tail -n 20 "$data/log" | cut -c 1-300 >&2
exit "$status"
