#!/usr/bin/env bash
# Replaces the program of a running installation and keeps the old one, so that you can go back.
#
#   deploy/upgrade.sh --binary FILE    installs the new program and keeps the old one as colony-gateway.previous
#   deploy/upgrade.sh --rollback       exchanges the two
#
# colony-gateway.previous is always a program that was ready. A program that did not become ready, or that was not ready when it
# was replaced, never takes its place.
#
#   --force          upgrade even if the gateway is not ready now
#   --no-migrate     do not bring the database up to date first
#   --wait SECONDS   how long the gateway may take to become ready (default 120)
#   --root DIR       the installation is below DIR
#   --help           print this
#
# The gateway must be ready before and after. If it does not become ready with the new program, the script brings the previous
# program back and exits with 1. During the restart, webhooks wait in the socket. The previous program works with the newer
# database, because migrations only add to it.
#
# RESTART_COMMAND replaces `systemctl restart` of the running services; ADMIN_ADDRESS is 127.0.0.1:9090 unless set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"

action='' force='' migrate=yes wait=120
while [ $# -gt 0 ]; do
  case $1 in
    --binary)
      action=upgrade binary=${2:?--binary needs a file} && shift 2
      # Takes it as a file, so that bash does not search PATH for it.
      case $binary in */*) ;; *) binary=./$binary ;; esac
      ;;
    --rollback) action=rollback && shift ;;
    --force) force=yes && shift ;;
    --no-migrate) migrate='' && shift ;;
    --wait) wait=${2:?--wait needs seconds} && shift 2 ;;
    --root) root=${2:?--root needs a directory} && root=${root%/} && shift 2 ;;
    --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) fail "unknown argument $1 (--help lists them)" ;;
  esac
done
[ -n "$action" ] || fail "give --binary FILE or --rollback"

program=$root/usr/local/bin/colony-gateway
previous=$program.previous
last=$program.last
address=${ADMIN_ADDRESS:-127.0.0.1:9090}

# The status and body of a path on the admin listener: ask PATH. Needs no program but bash.
ask() {
  # shellcheck disable=SC2016 # the inner shell expands
  timeout 5 bash -c '
    exec 3<>"/dev/tcp/$1/$2" || exit 1
    printf "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" "$3" >&3
    read -r _ status _ <&3 && echo "$status" && cat <&3' _ "${address%:*}" "${address##*:}" "$1" 2>/dev/null
}

is_ready() { [ "$(ask /readyz | head -n 1)" = 200 ]; }

# The running version, as /health reports it.
running_version() { ask /health | sed -n 's/.*"version":"\([^"]*\)".*/\1/p'; }

version_of() { "$1" --version | cut -d' ' -f2; }

restart() {
  local unit
  if [ -n "${RESTART_COMMAND:-}" ]; then
    bash -c "$RESTART_COMMAND"
    return
  fi
  # Bees and gateways of two versions understand each other. The gateway comes first.
  for unit in colony-gateway.socket colony-gateway.service colony-gateway-bee.service; do
    if systemctl is-failed --quiet "$unit"; then
      # The unit was meant to run but its program could not. systemd counts it as stopped, so `try-restart` would skip it.
      systemctl reset-failed "$unit"
      systemctl restart "$unit"
    elif [ "$unit" != colony-gateway.socket ]; then
      systemctl try-restart "$unit"
    fi
  done
}

# Waits until the given version is ready.
await() {
  local end=$((SECONDS + wait))
  until is_ready && [ "$(running_version)" = "$1" ]; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

# Puts a program in the place of the installed one. One rename does it, so a program is in place at every moment.
put() {
  install -m 0755 "$1" "$program.next"
  mv -f "$program.next" "$program"
}

[ -x "$program" ] || fail "nothing is installed at $program: run install.sh first"
# A run that was killed left the earlier program here. It was not shown yet that the new one is better.
if [ -x "$last" ]; then
  if is_ready; then mv -f "$last" "$previous"; else put "$last" && rm -f "$last"; fi
fi
if is_ready; then healthy=yes; else healthy=''; fi
if [ -z "$force" ] && [ -z "$healthy" ]; then
  fail "the gateway is not ready now (http://$address/readyz); find out why, or use --force"
fi

if [ "$action" = rollback ]; then
  [ -x "$previous" ] || fail "there is no previous program to go back to"
  binary=$previous
fi
old=$(version_of "$program")
new=$(version_of "$binary") || new=''
[ -n "$new" ] || fail "$binary does not run on this machine"
if [ "$action" = upgrade ]; then
  if cmp -s "$binary" "$program"; then
    say "this program is installed already: $old"
    exit 0
  fi
  # Migrates as the role that owns the schema, if that is not the service's role.
  database=$root/etc/colony-gateway/credentials/gateway_ledger_owner_url
  [ -s "$database" ] || database=$root/etc/colony-gateway/credentials/database_url
  if [ -n "$migrate" ] && [ -s "$database" ]; then
    say "migrations"
    DATABASE_URL_FILE=$database "$binary" migrate || fail "nothing was replaced"
  fi
fi

install -m 0755 "$program" "$last.new"
mv -f "$last.new" "$last"
put "$binary"
say "from $old to $new"
restart || true
if await "$new"; then
  # A program that was not ready itself is kept only if there is no better one.
  if [ -n "$healthy" ] || [ ! -x "$previous" ]; then mv -f "$last" "$previous"; else rm -f "$last"; fi
  say "ready"
  exit 0
fi
put "$last"
rm -f "$last"
restart || true
# The old program gets at least a minute, even if the new one got less.
if [ "$wait" -lt 60 ]; then back_wait=60; else back_wait=$wait; fi
wait=$back_wait await "$old" || fail "$new did not become ready, and neither did $old: look at the log"
fail "$new did not become ready in $wait s; $old is back and ready"
