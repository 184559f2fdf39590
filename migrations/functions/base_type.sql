-- The type below a domain, or the type itself if it is none. It has no length: a cast to a type with one, or to a domain over
-- such a type, cuts what is too long without a word, and a user's id would become another user's.
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
