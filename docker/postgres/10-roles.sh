#!/bin/sh
# Runs once, when the volume of PostgreSQL is empty: makes a database for the gateway, and a role for each service that
# connects.
#
# A Colonies server uses only the database `postgres`. `anon`, `authenticated` and `service_role` are Supabase's roles; the
# gateway's migrations grant them what a REST layer may do.
set -eu

# docker/prepare.sh makes them of hexadecimal digits, so they need no quoting.
secret() { cat "${SECRETS_DIR:-/run/secrets}/$1"; }

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE colonies LOGIN PASSWORD '$(secret colonies_db_password)';
GRANT CREATE, USAGE ON SCHEMA public TO colonies;

CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD '$(secret authenticator_db_password)';
GRANT anon, authenticated, service_role TO authenticator;

-- Owns the schema; only migrations use it. 20-runtime-role.sh makes the role of gateway and bees.
CREATE ROLE gateway LOGIN PASSWORD '$(secret gateway_db_password)';
CREATE DATABASE gateway OWNER gateway;
REVOKE CONNECT ON DATABASE gateway FROM PUBLIC;
GRANT CONNECT ON DATABASE gateway TO authenticator;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO colonies;
\connect gateway
ALTER SCHEMA public OWNER TO gateway;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
SQL
