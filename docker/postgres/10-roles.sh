#!/bin/sh
# Runs once, when the volume of PostgreSQL is empty: a database for the gateway and one role for each who connects.
#
# A Colonies server uses the database `postgres` and no other. `anon`, `authenticated` and `service_role` are Supabase's
# roles; the gateway's migrations grant to them what a REST layer may do.
set -eu

# Made by docker/prepare.sh of hexadecimal digits, so that they need no quoting.
secret() { cat "${SECRETS_DIR:-/run/secrets}/$1"; }

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE colonies LOGIN PASSWORD '$(secret colonies_db_password)';
GRANT CREATE, USAGE ON SCHEMA public TO colonies;

CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD '$(secret authenticator_db_password)';
GRANT anon, authenticated, service_role TO authenticator;

-- Owns the schema, and is for migrations alone: 20-runtime-role.sh makes the one that gateway and bees have.
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
