-- The permissive policies of a table that let users in: those for `anon`, `authenticated` or every role, except policies for the
-- service role alone.
CREATE OR REPLACE FUNCTION gateway.user_policies(relation text)
RETURNS TABLE (policy name, command text, reads text, writes text)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT p.polname,
        CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete' ELSE 'all' END,
        e.reads, coalesce(e.writes, e.reads)
    FROM pg_catalog.pg_policy p
    CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS reads,
        pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS writes) e
    WHERE p.polrelid = pg_catalog.to_regclass(relation) AND p.polpermissive
      AND p.polroles && ARRAY[0::pg_catalog.oid, pg_catalog.to_regrole('anon')::pg_catalog.oid,
          pg_catalog.to_regrole('authenticated')::pg_catalog.oid]
      AND NOT (coalesce(e.reads, e.writes) ~ 'service_role' AND coalesce(e.reads, e.writes) !~* '\mor\M')
$$;
