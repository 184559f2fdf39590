-- What the database has: the numbered files that ran, the texts that each definition has had with the present one last, the
-- encoding, and what the caller may do besides calling entries. Changes nothing.
CREATE OR REPLACE FUNCTION public.gateway_check() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_build_object(
        'migrations', (SELECT coalesce(pg_catalog.jsonb_agg(m.version ORDER BY m.version), '[]') FROM gateway.migrations m),
        'definitions', (SELECT coalesce(pg_catalog.jsonb_object_agg(d.name, d.earlier || d.checksum), '{}')
                        FROM gateway.definitions d),
        'encoding', pg_catalog.current_setting('server_encoding'),
        'release', (SELECT d.release FROM gateway.definitions d LIMIT 1),
        'caller', (
            SELECT pg_catalog.jsonb_build_object(
                'role', r.rolname,
                'is_superuser', r.rolsuper,
                'is_owner', pg_catalog.pg_has_role(r.oid, n.nspowner, 'MEMBER'),
                'writes', pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') OR EXISTS (
                    SELECT FROM pg_catalog.pg_class c
                    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v')
                        AND pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')))
            FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n
            -- In here the current user is the owner. The caller is the role that logged in or that a REST layer chose.
            WHERE n.nspname = 'gateway' AND r.rolname = coalesce(
                nullif(pg_catalog.current_setting('role', true), 'none'), SESSION_USER)))
$$;
