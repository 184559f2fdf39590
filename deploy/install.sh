#!/usr/bin/env bash
# Installs colony-gateway under systemd: user, directories, program, units, documents. Can run again at any time; what an
# operator wrote or chose (settings, secrets, what is enabled and running) stays.
#
#   deploy/install.sh --binary target/release/colony-gateway
#
#   --binary FILE   the program; without it, the one that is installed stays
#   --root DIR      install below DIR and touch no running system
#   --help          print this
#
# Secrets are files of /etc/colony-gateway/credentials, called like the setting in lower case (stripe_webhook_secret,
# database_url, and what `colony-gateway keys generate --dir` writes). Each service is handed those that it needs. Run this
# again after adding or removing one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=${2:?--binary needs a file} && shift 2 ;;
    --root) root=${2:?--root needs a directory} && root=${root%/} && shift 2 ;;
    --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) fail "unknown argument $1 (--help lists them)" ;;
  esac
done

[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "run it as root, or with --root DIR"
program=$root/usr/local/bin/colony-gateway
config=$root/etc/colony-gateway
credentials=$config/credentials
units=$root/etc/systemd/system

install_program() {
  if [ -z "$binary" ]; then
    [ -x "$program" ] || fail "nothing is installed yet: say --binary FILE"
    return
  fi
  local version
  version=$("$binary" --version) || fail "$binary does not run on this machine"
  if [ -e "$program" ] && ! cmp -s "$binary" "$program"; then
    fail "another version is installed; deploy/upgrade.sh replaces it and keeps the way back"
  fi
  install -d "${program%/*}"
  replace "$binary" "$program" 0755
  say "program      $version"
}

make_user_and_directories() {
  install -D -m 0644 "$here/systemd/colony-gateway.sysusers.conf" "$root/usr/lib/sysusers.d/colony-gateway.conf"
  install -D -m 0644 "$here/systemd/colony-gateway.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/colony-gateway.conf"
  install -d -m 0755 "$config"
  install -d -m 0700 "$credentials"
  [ -z "$root" ] || return 0
  if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/colony-gateway.conf
  elif ! id colony-gateway >/dev/null 2>&1; then
    useradd --system --home-dir /var/lib/colony-gateway --shell /usr/sbin/nologin colony-gateway
  fi
  install -d -m 0700 -o colony-gateway -g colony-gateway /var/backups/colony-gateway
}

install_units() {
  local file
  install -d "$units"
  install -D -m 0755 "$here/gatewayctl" "$root/usr/local/bin/gatewayctl"
  for file in "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer; do
    install -m 0644 "$file" "$units/"
  done
  for file in "$here"/../docs/*.md "$here"/../LICENSE-*; do
    install -D -m 0644 "$file" "$root/usr/share/doc/colony-gateway/${file##*/}"
  done
}

make_settings() {
  [ -e "$config/gateway.env" ] || install -m 0644 "$here/systemd/gateway.env" "$config/gateway.env"
  if [ ! -e "$credentials/gateway_admin_token" ]; then
    (umask 077 && od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$credentials/gateway_admin_token")
    say "made         $credentials/gateway_admin_token"
  fi
}

# Writes the drop-in of a service for those of the given credentials that are there: hand_over UNIT NAME...
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
  printf '# Written by install.sh.\n[Service]\n%s' "$text" >"$drop_in.new"
  chmod 0644 "$drop_in.new"
  mv -f "$drop_in.new" "$drop_in"
}

hand_over_credentials() {
  local ledger=(database_url supabase_service_role_key) more=(stripe_secret_key redis_url otel_exporter_otlp_headers)
  hand_over colony-gateway.service "${ledger[@]}" "${more[@]}" colonies_user_prvkey \
    colonies_executor_prvkey attestation_prvkey attestation_pubkeys sealing_prvkey sealing_pubkeys
  # A bee never has the key that attests. No service has the URL of the ledger's owner (gateway_ledger_owner_url) or the key of the
  # colony's owner: they are for gatewayctl and upgrade.sh.
  hand_over colony-gateway-bee.service "${ledger[@]}" "${more[@]}" colonies_executor_prvkey sealing_prvkey
  # Keys are part of a backup, which is encrypted; other secrets belong to a secret store.
  hand_over colony-gateway-backup.service colonies_server_prvkey colonies_colony_prvkey colonies_user_prvkey \
    colonies_executor_prvkey attestation_prvkey attestation_pubkeys sealing_prvkey sealing_pubkeys
  chmod 0600 "$credentials"/*
}

install_program
make_user_and_directories
make_settings
install_units
hand_over_credentials
if has_systemd; then systemctl daemon-reload; fi

say "installed    ${root:-/}"
command -v age >/dev/null || say "age is not installed, and backups need it: apt install age"
if [ ! -s "$credentials/stripe_webhook_secret" ]; then
  say "Next: put the endpoint's signing secret into /etc/colony-gateway/credentials/stripe_webhook_secret and the"
  say "database's URL into …/database_url, run install.sh again, then"
fi
say "  gatewayctl migrate"
say "  systemctl enable --now colony-gateway.socket colony-gateway.service colony-gateway-backup.timer"
