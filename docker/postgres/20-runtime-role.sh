#!/bin/sh
# The role that gateway and bees connect as. It owns nothing; `colony-gateway migrate` lets it call the gateway's functions.
# The role `gateway`, which owns the schema, is only for migrations. This runs once, after 10-roles.sh. On a volume that
# already exists:
#
#   docker compose -f docker/compose.yaml up -d postgres
#   docker compose -f docker/compose.yaml exec postgres sh /docker-entrypoint-initdb.d/20-runtime-role.sh
set -eu

# docker/prepare.sh makes it of hexadecimal digits, so it needs no quoting.
secret() { cat "${SECRETS_DIR:-/run/secrets}/$1"; }

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
SELECT 'CREATE ROLE gateway_run LOGIN' WHERE to_regrole('gateway_run') IS NULL \\gexec
ALTER ROLE gateway_run PASSWORD '$(secret gateway_run_db_password)';
GRANT CONNECT ON DATABASE gateway TO gateway_run;
SQL
