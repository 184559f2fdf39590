-- What is here: the numbered files that ran, and the texts that each definition has had, the present one last, and
-- the encoding of the database. Changes nothing.
CREATE OR REPLACE FUNCTION public.gateway_check() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_build_object(
        'migrations', (SELECT coalesce(pg_catalog.jsonb_agg(m.version ORDER BY m.version), '[]') FROM gateway.migrations m),
        'definitions', (SELECT coalesce(pg_catalog.jsonb_object_agg(d.name, d.earlier || d.checksum), '{}')
                        FROM gateway.definitions d),
        'encoding', pg_catalog.current_setting('server_encoding'),
        'release', (SELECT d.release FROM gateway.definitions d LIMIT 1))
$$;
