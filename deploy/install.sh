#!/usr/bin/env bash
# Installs colony-gateway under systemd: user, directories, program, units, documents. You can run it again at any time. It
# keeps your settings and secrets, and does not change which services are enabled or running.
#
#   deploy/install.sh --binary target/release/colony-gateway
#
#   --binary FILE   the program; without it, the installed one stays
#   --root DIR      install below DIR and do not touch the running system
#   --help          print this
#
# Secrets are files in /etc/colony-gateway/credentials, named like the setting in lower case (stripe_webhook_secret, database_url,
# and the files that `colony-gateway keys generate --dir` writes). secrets.sh gives each service the secrets that it needs: run
# `gatewayctl secrets` after you add or remove one.
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
    [ -x "$program" ] || fail "nothing is installed yet: give --binary FILE"
    return
  fi
  local version
  version=$("$binary" --version) || fail "$binary does not run on this machine"
  if [ -e "$program" ] && ! cmp -s "$binary" "$program"; then
    fail "another version is installed; deploy/upgrade.sh replaces it and lets you go back"
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
  install -D -m 0755 "$here/secrets.sh" "$root/usr/local/lib/colony-gateway/secrets.sh"
  install -D -m 0644 "$here/common.sh" "$root/usr/local/lib/colony-gateway/common.sh"
  for file in "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer; do
    install -m 0644 "$file" "$units/"
  done
  for file in "$here"/../LICENSE-*; do
    install -D -m 0644 "$file" "$root/usr/share/doc/colony-gateway/${file##*/}"
  done
  (cd "$here/../docs" && find . -name '*.md') | while read -r file; do
    install -D -m 0644 "$here/../docs/$file" "$root/usr/share/doc/colony-gateway/$file"
  done
}

make_settings() {
  [ -e "$config/gateway.env" ] || install -m 0644 "$here/systemd/gateway.env" "$config/gateway.env"
}

install_program
make_user_and_directories
make_settings
install_units
if [ -n "$root" ]; then "$here/secrets.sh" --root "$root"; else "$here/secrets.sh"; fi

say "installed    ${root:-/}"
command -v age >/dev/null || say "age is not installed, and backups need it: apt install age"
if [ ! -s "$credentials/stripe_webhook_secret" ]; then
  say "Next: put the endpoint's signing secret into /etc/colony-gateway/credentials/stripe_webhook_secret and the"
  say "database's URL into …/database_url, then"
fi
say "  gatewayctl secrets"
say "  gatewayctl migrate"
say "  systemctl enable --now colony-gateway.socket colony-gateway.service colony-gateway-backup.timer"
