#!/usr/bin/env bash
# Gives each secret to the services that need it, and to no other. Run it (`gatewayctl secrets`) after you add or remove a file in
# /etc/colony-gateway/credentials, then restart the services. The first run makes the admin token.
#
#   deploy/secrets.sh [--root DIR]    the installation is below DIR; by default below /
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2:?--root needs a directory} && root=${root%/} && shift 2 ;;
    --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) fail "unknown argument $1 (--help lists them)" ;;
  esac
done
[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "run it as root, or with --root DIR"
credentials=$root/etc/colony-gateway/credentials
units=$root/etc/systemd/system

make_admin_token() {
  [ ! -e "$credentials/gateway_admin_token" ] || return 0
  (umask 077 && od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$credentials/gateway_admin_token")
  say "made         $credentials/gateway_admin_token"
}

# Writes a service's drop-in for the given credentials that exist: hand_over UNIT NAME...
hand_over() {
  local unit=$1 name text=
  shift
  for name in "$@"; do
    [ -s "$credentials/$name" ] || continue
    text+="LoadCredential=$name:/etc/colony-gateway/credentials/$name"$'\n'
    text+="Environment=${name^^}_FILE=%d/$name"$'\n'
  done
  local drop_in=$units/$unit.d/50-credentials.conf
  if [ -z "$text" ]; then
    rm -f "$drop_in"
    return
  fi
  install -d "${drop_in%/*}"
  printf '# Written by secrets.sh.\n[Service]\n%s' "$text" >"$drop_in.new"
  chmod 0644 "$drop_in.new"
  mv -f "$drop_in.new" "$drop_in"
}

hand_over_credentials() {
  local ledger=(database_url supabase_service_role_key) more=(stripe_secret_key redis_url otel_exporter_otlp_headers)
  hand_over colony-gateway.service "${ledger[@]}" "${more[@]}" colonies_user_prvkey \
    colonies_executor_prvkey attestation_prvkey attestation_pubkeys sealing_prvkey sealing_pubkeys
  # A bee never gets the key that attests. No service gets the URL of the ledger's owner (gateway_ledger_owner_url) or the key
  # of the colony's owner: these are for gatewayctl and upgrade.sh.
  hand_over colony-gateway-bee.service "${ledger[@]}" "${more[@]}" colonies_executor_prvkey sealing_prvkey
  # Keys go into the backup, which is encrypted. Other secrets belong in a secret store.
  hand_over colony-gateway-backup.service colonies_server_prvkey colonies_colony_prvkey colonies_user_prvkey \
    colonies_executor_prvkey attestation_prvkey attestation_pubkeys sealing_prvkey sealing_pubkeys
  chmod 0600 "$credentials"/*
}

install -d -m 0700 "$credentials"
make_admin_token
hand_over_credentials
if has_systemd; then systemctl daemon-reload; fi
