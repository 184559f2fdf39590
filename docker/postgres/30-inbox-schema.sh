#!/bin/sh
# A schema for an inbox in PostgreSQL (docker/compose.shared.yaml). The gateways' role owns it. This runs once, after
# 20-runtime-role.sh. On a volume that already exists:
#
#   docker compose -f docker/compose.yaml -f docker/compose.shared.yaml up -d postgres
#   docker compose -f docker/compose.yaml exec postgres sh /docker-entrypoint-initdb.d/30-inbox-schema.sh
set -eu

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname gateway \
  --command 'CREATE SCHEMA IF NOT EXISTS gateway_inbox AUTHORIZATION gateway_run'
