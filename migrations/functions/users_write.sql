-- Whether users can write rows of a table: one of their roles has the right, and row level security does not keep all of them
-- out.
CREATE OR REPLACE FUNCTION gateway.users_write(relation text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT EXISTS (
        SELECT FROM (VALUES ('insert'), ('update')) AS c (command)
        CROSS JOIN pg_catalog.unnest(ARRAY[pg_catalog.to_regrole('anon'), pg_catalog.to_regrole('authenticated')]) AS r (role)
        JOIN pg_catalog.pg_class k ON k.oid = pg_catalog.to_regclass(relation)
        WHERE CASE WHEN r.role IS NULL THEN false ELSE pg_catalog.has_any_column_privilege(r.role, k.oid, c.command) END
          AND (NOT k.relrowsecurity OR EXISTS (
              SELECT FROM gateway.user_policies(relation) p WHERE p.command IN (c.command, 'all'))))
$$;
