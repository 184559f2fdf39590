-- The type on which a domain is based; any other type is returned as it is. The result never has a length, because PostgreSQL
-- silently cuts a value that is cast to a type with a length, or to a domain over one: one user's id would become another's.
CREATE OR REPLACE FUNCTION gateway.base_type(type text) RETURNS text
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH RECURSIVE below AS (
        SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype(type)
        UNION ALL
        SELECT t.oid, t.typbasetype FROM below b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
    )
    SELECT pg_catalog.format_type(b.oid, NULL) FROM below b WHERE b.typbasetype = 0
$$;
