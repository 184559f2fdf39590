#!/bin/sh
# The role that gateway and bees connect as. It owns nothing; `colony-gateway migrate` lets it call the gateway's functions, and
# the role `gateway`, which owns the schema, is for migrations alone. Runs once, behind 10-roles.sh; on a volume of before:
#
#   docker compose -f docker/compose.yaml up -d postgres
#   docker compose -f docker/compose.yaml exec postgres sh /docker-entrypoint-initdb.d/20-runtime-role.sh
set -eu

# Made by docker/prepare.sh of hexadecimal digits, so that it needs no quoting.
secret() { cat "${SECRETS_DIR:-/run/secrets}/$1"; }

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
SELECT 'CREATE ROLE gateway_run LOGIN' WHERE to_regrole('gateway_run') IS NULL \\gexec
ALTER ROLE gateway_run PASSWORD '$(secret gateway_run_db_password)';
GRANT CONNECT ON DATABASE gateway TO gateway_run;
SQL
