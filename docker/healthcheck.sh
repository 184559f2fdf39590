#!/bin/bash
# Healthy is a container that is ready: exit code 0. A gateway whose ledger or colony is down is ready, since it makes
# webhooks durable; restarting it would help nobody. Asks the admin listener of `serve` or `bee` and needs no other program.
set -eu
address=${GATEWAY_ADMIN_LISTEN:-127.0.0.1:9090}
exec 3<>"/dev/tcp/127.0.0.1/${address##*:}"
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
