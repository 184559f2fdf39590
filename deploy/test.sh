#!/usr/bin/env bash
# Tests install.sh, secrets.sh, upgrade.sh and package.sh in a temporary root, without systemd and without privileges:
# installing twice, an upgrade, a bad upgrade that goes back by itself, and a rollback. A small program stands in for the
# gateway.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
# A free port, below the range of outgoing connections.
port=$(python3 -c '
import random, socket
for port in random.sample(range(20000, 32000), 200):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)):
            print(port)
            break')
stop() { if [ -s "$work/pid" ]; then kill "$(cat "$work/pid")" 2>/dev/null || true; fi; }
trap 'stop; rm -rf "$work"' EXIT
fail() {
  printf 'deploy/test.sh: %s\n' "$*" >&2
  exit 1
}

# A program that answers as the gateway does: stand_in VERSION READY_STATUS.
stand_in() {
  cat >"$work/$1" <<PROGRAM
#!/usr/bin/env python3
import http.server, sys
if "--version" in sys.argv:
    print("colony-gateway $1"); sys.exit()
if sys.argv[1:2] == ["migrate"]:
    open("$work/migrated", "w").write("$1"); sys.exit()
if sys.argv[1:2] in (["man"], ["completions"]):
    sys.exit()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status":"ok","version":"$1","ready":true}'
        self.send_response($2 if self.path == "/readyz" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", $port), Answer).serve_forever()
PROGRAM
  chmod 755 "$work/$1"
}
stand_in 1.0.0 200
stand_in 1.1.0 200
stand_in 1.2.0 503

root=$work/root
program=$root/usr/local/bin/colony-gateway
cat >"$work/restart" <<RESTART
if [ -s "$work/pid" ]; then kill "\$(cat "$work/pid")"; while kill -0 "\$(cat "$work/pid")" 2>/dev/null; do sleep 0.1; done; fi
"$program" serve >"$work/log" 2>&1 &
echo \$! >"$work/pid"
RESTART
export ADMIN_ADDRESS=127.0.0.1:$port RESTART_COMMAND="bash $work/restart"
installation() { (cd "$root" && find . -type f -printf '%p %m ' -exec sha256sum {} \; | sort); }
version() { "$program" --version; }

"$here/install.sh" --root "$root" --binary "$work/1.0.0" >/dev/null
first=$(installation)
"$here/install.sh" --root "$root" --binary "$work/1.0.0" >/dev/null
[ "$first" = "$(installation)" ] || fail "a second installation changes something"
grep -q ' 600 .*gateway_admin_token' <<<"$first" || fail "the admin token is not private"

# An operator's settings stay. A secret that was added goes only to the services that need it.
echo 'BEE_COUNT=3' >"$root/etc/colony-gateway/gateway.env"
printf 'postgres://' >"$root/etc/colony-gateway/credentials/database_url"
printf 'seed' >"$root/etc/colony-gateway/credentials/attestation_prvkey"
"$here/install.sh" --root "$root" >/dev/null
grep -qx 'BEE_COUNT=3' "$root/etc/colony-gateway/gateway.env" || fail "settings were overwritten"
units=$root/etc/systemd/system
grep -qx 'Environment=DATABASE_URL_FILE=%d/database_url' "$units/colony-gateway.service.d/50-credentials.conf" || fail "no database_url for the gateway"
grep -qx 'Environment=ATTESTATION_PRVKEY_FILE=%d/attestation_prvkey' "$units/colony-gateway.service.d/50-credentials.conf" || fail "no attestation_prvkey"
! grep -qi 'attestation_prvkey' "$units/colony-gateway-bee.service.d/50-credentials.conf" || fail "bees were given the key that attests"
if "$here/install.sh" --root "$root" --binary "$work/1.1.0" >/dev/null 2>&1; then fail "install.sh replaced another version"; fi

# The gateway is not ready: nothing may change.
if "$here/upgrade.sh" --root "$root" --binary "$work/1.1.0" --wait 1 >/dev/null 2>&1; then fail "upgraded a gateway that is not ready"; fi
[ "$(version)" = "colony-gateway 1.0.0" ] || fail "the program was replaced"
bash "$work/restart"
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.1; done

"$here/upgrade.sh" --root "$root" --binary "$work/1.1.0" --wait 60 >/dev/null || fail "the upgrade failed"
[ "$(version)" = "colony-gateway 1.1.0" ] || fail "the program was not replaced"
[ "$(cat "$work/migrated")" = 1.1.0 ] || fail "the database was not brought up to date"
"$here/upgrade.sh" --root "$root" --rollback --wait 60 >/dev/null || fail "the rollback failed"
[ "$(version)" = "colony-gateway 1.0.0" ] || fail "the rollback did not go back"
if "$here/upgrade.sh" --root "$root" --binary "$work/1.2.0" --wait 3 >"$work/bad" 2>&1; then fail "a program that is never ready stayed"; fi
[ "$(version)" = "colony-gateway 1.0.0" ] || fail "a bad upgrade did not go back"
grep -q '1.0.0 is back and ready' "$work/bad" || fail "a bad upgrade did not say so"
previous=$("$root/usr/local/bin/colony-gateway.previous" --version)
[ "$previous" = "colony-gateway 1.1.0" ] || fail "after a bad upgrade the way back leads to $previous"
[ ! -e "$root/usr/local/bin/colony-gateway.last" ] || fail "a bad upgrade left something behind"

# Checks the units as systemd reads them where they are installed.
if command -v systemd-analyze >/dev/null 2>&1; then
  # The system's targets and users are not below the root.
  mkdir -p "$root/usr/lib/systemd/system" "$root/bin" "$root/usr/bin"
  for target in basic sysinit shutdown network-online multi-user sockets timers umount slices; do
    printf '[Unit]\nDescription=%s\n' "$target" >"$root/usr/lib/systemd/system/$target.target"
  done
  printf '[Slice]\n' >"$root/usr/lib/systemd/system/system.slice"
  for file in kill sh find; do install -m 0755 "$work/1.0.0" "$root/bin/$file" && install -m 0755 "$work/1.0.0" "$root/usr/bin/$file"; done
  systemd-analyze verify --root="$root" --man=no colony-gateway.service colony-gateway.socket \
    colony-gateway-bee.service colony-gateway-backup.service colony-gateway-backup.timer >"$work/verify" 2>&1 ||
    { cat "$work/verify" >&2 && fail "systemd-analyze verify"; }
  if [ -s "$work/verify" ]; then cat "$work/verify" >&2 && fail "systemd-analyze verify"; fi
  for unit in colony-gateway colony-gateway-bee colony-gateway-backup; do
    claimed=$(sed -n 's/.*systemd-analyze security` gives \([0-9.]*\).*/\1/p' "$here/systemd/$unit.service")
    measured=$(systemd-analyze security --offline=true --no-pager "$here/systemd/$unit.service" 2>/dev/null |
      sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    # Versions of systemd weigh settings differently, but a loosened unit is far off.
    awk -v claimed="$claimed" -v measured="$measured" 'BEGIN { exit !(measured != "" && measured <= claimed + 0.3) }' ||
      fail "$unit: the comment says $claimed, systemd-analyze security $measured"
  done
fi
# Runs a command as the service would: systemd replaces variables before the inner shell sees them.
mkdir "$work/bin" "$work/handed"
printf 'postgres://' >"$work/handed/database_url"
printf '#!/bin/bash\necho 0\n' >"$work/bin/id"
cat >"$work/bin/systemd-run" <<STUB
#!/bin/bash
while [ "\$1" != -- ]; do shift; done
shift
arguments=()
for argument in "\$@"; do
  argument=\$(sed -E 's/\\\$\\\$/\x01/g; s/\\\$\{[^}]*\}//g; s/\x01/\$/g; s|/usr/local/bin/colony-gateway|$work/shown|' <<<"\$argument")
  arguments+=("\$argument")
done
CREDENTIALS_DIRECTORY=$work/handed exec "\${arguments[@]}"
STUB
# shellcheck disable=SC2016 # that program expands
printf '#!/bin/bash\nprintf "%%s\\n" "$DATABASE_URL_FILE" "$@"\n' >"$work/shown"
chmod 755 "$work/bin/id" "$work/bin/systemd-run" "$work/shown"
# shellcheck disable=SC2016 # not to be expanded
shown=$(PATH="$work/bin:$PATH" "$here/gatewayctl" inbox drop evt_1 --reason 'worth ${5} $ or more' | tr '\n' '|')
[ "$shown" = "$work/handed/database_url|inbox|drop|evt_1|--reason|worth \${5} \$ or more|" ] || fail "gatewayctl hands over: $shown"
rm "$work/bin/id"

# A package has the same units with a package's paths, has its scripts, and hands over secrets below a root.
if command -v dpkg-deb >/dev/null; then
  "$here/package.sh" --binary "$work/1.0.0" --out "$work/packages" >/dev/null
  dpkg-deb --extract "$work"/packages/colony-gateway_1.0.0_*.deb "$work/packaged"
  [ "$("$work/packaged/usr/bin/colony-gateway" --version)" = "colony-gateway 1.0.0" ] || fail "the package has another program"
  ! grep -rl /usr/local "$work/packaged/usr/bin/gatewayctl" "$work/packaged/usr/lib" || fail "the package points to /usr/local"
  for unit in "$here"/systemd/*.service "$here"/systemd/*.socket "$here"/systemd/*.timer; do
    diff <(sed 's|/usr/local/|/usr/|' "$unit") "$work/packaged/usr/lib/systemd/system/${unit##*/}" || fail "the package has another ${unit##*/}"
  done
  dpkg-deb --ctrl-tarfile "$work"/packages/*.deb | tar -x -C "$work/packages" ./postinst ./prerm ./postrm ./conffiles
  grep -qx /etc/colony-gateway/gateway.env "$work/packages/conffiles" || fail "an upgrade would overwrite gateway.env"
  install -d -m 0700 "$work/packaged/etc/colony-gateway/credentials"
  printf x >"$work/packaged/etc/colony-gateway/credentials/stripe_secret_key"
  "$work/packaged/usr/lib/colony-gateway/secrets.sh" --root "$work/packaged" >/dev/null
  grep -q stripe_secret_key "$work/packaged/etc/systemd/system/colony-gateway.service.d/50-credentials.conf" || fail "a secret was not handed over"
fi

# A roll-out on Kubernetes: which requests it makes to the cluster, in which order, and the way back.
cat >"$work/bin/kubectl" <<STUB
#!/bin/bash
case "\$*" in
  kustomize*) echo '    image: registry.example.com/colony-gateway:latest'; exit ;;
  *"get pods"*) [ -n "\$NO_PODS" ] || echo pod/colony-gateway-0; exit ;;
esac
if [[ "\$*" == *apply* && "\$*" == *"-f -" ]]; then set -- "\$@" "\$(cat)"; fi
echo "\$*" >>"$work/calls"
if [[ "\$*" == *"colony-gateway check" ]]; then
  if grep -q 'apply.*image' "$work/calls"; then exit "\${AFTER:-0}"; else exit "\${BEFORE:-0}"; fi
fi
[ -z "\$FAIL" ] || [[ "\$*" != \$FAIL ]]
STUB
chmod 755 "$work/bin/kubectl"
rollout() {
  : >"$work/calls"
  PATH="$work/bin:$PATH" FAIL=${1:-} "$here/kubernetes/rollout.sh" "${OVERLAY:-staging}" example/gateway:2 >/dev/null 2>&1
}
rollout || fail "a roll-out without faults failed"
grep -q 'apply.*image: example/gateway:2$' "$work/calls" || fail "the image was not put in"
! grep -q undo "$work/calls" || fail "a good roll-out was undone"
if rollout '*wait --for*'; then fail "went on after failed migrations"; fi
! grep -q 'rollout' "$work/calls" || fail "something was replaced although the migrations failed"
for fault in '*rollout status statefulset*--timeout*' '*exec*check --ready*'; do
  if rollout "$fault"; then fail "a roll-out with a fault stayed: $fault"; fi
  [ "$(grep -c 'rollout undo' "$work/calls")" -eq 2 ] || fail "not undone: $fault"
done
if AFTER=2 rollout; then fail "a gateway that is down stayed"; fi
grep -q 'rollout undo' "$work/calls" || fail "a gateway that is down was not undone"
AFTER=1 rollout || fail "a degraded gateway was undone"
if NO_PODS=yes rollout; then fail "a roll-out that left no gateway stayed"; fi
BEFORE=2 AFTER=2 rollout || fail "the new image was blamed for a gateway that was down before"
if OVERLAY=shared-inbox rollout '*rollout status deployment/colony-gateway *'; then fail "a roll-out of gateways that share an inbox stayed"; fi
grep -q 'rollout undo deployment/colony-gateway' "$work/calls" || fail "gateways that share an inbox were not undone"
printf 'deploy/test.sh: passed\n'
