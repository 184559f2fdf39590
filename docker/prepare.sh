#!/usr/bin/env bash
# Makes docker/.env and docker/secrets for docker/compose.yaml. It keeps what exists already, so you can run it again.
#
# It uses the colony-gateway on PATH (or COLONY_GATEWAY=/path/to/it), else the image GATEWAY_IMAGE. It takes the signing
# secret of the Stripe endpoint from STRIPE_WEBHOOK_SECRET; without that, put it into docker/secrets/stripe_webhook_secret
# afterwards.
set -euo pipefail
umask 077
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# To try it out in a place other than docker/.
target=${1:-$here}
secrets=$target/secrets

say() { printf '%s\n' "$*"; }

fail() {
  printf 'docker/prepare.sh: %s\n' "$*" >&2
  exit 1
}

# Writes a secret unless it exists: keep NAME TEXT.
keep() {
  if [ -e "$secrets/$1" ]; then return; fi
  printf '%s' "$2" >"$secrets/$1"
  say "made  $1"
}

# 256 bits as hexadecimal digits, which need no quoting in a URL, in SQL or in a shell.
random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

generate_keys() {
  local program=${COLONY_GATEWAY:-$(command -v colony-gateway || true)}
  if [ -n "$program" ]; then
    "$program" keys generate --dir "$secrets"
  elif command -v docker >/dev/null 2>&1; then
    docker run --rm --network none --user "$(id -u):$(id -g)" -v "$secrets:/secrets" \
      "${GATEWAY_IMAGE:-colony-gateway:latest}" keys generate --dir /secrets ||
      fail "cannot make keys: build the image first (docker compose -f docker/compose.yaml build gateway)"
  else
    fail "needs colony-gateway on PATH, or docker with the image ${GATEWAY_IMAGE:-colony-gateway:latest}"
  fi
}

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# A token for PostgREST with the role service_role, signed with the secret $1. Supabase calls it the service key.
service_role_key() {
  local head body signature
  head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
  body=$(printf '{"role":"service_role","iss":"colony-gateway"}' | base64url)
  signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$1" -binary | base64url)
  printf '%s.%s.%s' "$head" "$body" "$signature"
}

command -v openssl >/dev/null 2>&1 || fail "needs openssl"
mkdir -p "$secrets"
chmod 700 "$secrets"

keys=$(generate_keys)
server_id=$(sed -n 's/^COLONIES_SERVER_ID=//p' <<<"$keys")
[ -n "$server_id" ] || fail "keys generate printed no COLONIES_SERVER_ID"
say "keys  in $secrets"

for name in postgres_password gateway_db_password gateway_run_db_password colonies_db_password authenticator_db_password jwt_secret \
  gateway_admin_token grafana_admin_password; do
  keep "$name" "$(random)"
done
# Gateway and bees use a role that owns nothing. Only migrations run as the owner.
keep database_url "postgres://gateway_run:$(cat "$secrets/gateway_run_db_password")@postgres:5432/gateway"
keep owner_database_url "postgres://gateway:$(cat "$secrets/gateway_db_password")@postgres:5432/gateway"
# An inbox that gateways share (compose.shared.yaml) has a schema of its own in the same database.
keep inbox_url "$(cat "$secrets/database_url")"
keep postgrest_db_uri "postgres://authenticator:$(cat "$secrets/authenticator_db_password")@postgres:5432/gateway"
keep supabase_service_role_key "$(service_role_key "$(cat "$secrets/jwt_secret")")"
# Optional. It stays empty, and unused until STRIPE_SECRET_KEY_FILE in .env names it.
keep stripe_secret_key "${STRIPE_SECRET_KEY:-}"
if [ -n "${STRIPE_WEBHOOK_SECRET:-}" ]; then keep stripe_webhook_secret "$STRIPE_WEBHOOK_SECRET"; fi
# Containers run as users of their own, so the files must be readable. The directory keeps everyone else on this machine out.
chmod 444 "$secrets"/*

if [ ! -e "$target/.env" ]; then
  sed "s/^COLONIES_SERVER_ID=\$/COLONIES_SERVER_ID=$server_id/" "$here/.env.example" >"$target/.env"
  say "made  .env"
fi
if [ ! -e "$secrets/stripe_webhook_secret" ]; then
  say "Now put the signing secret of the Stripe endpoint (whsec_…) into $secrets/stripe_webhook_secret (mode 0444)."
fi
