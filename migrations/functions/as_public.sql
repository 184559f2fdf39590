-- The expression that gives a user's id the type of a public column, and its collation: the gateway's own columns
-- compare by byte, and an index serves comparisons of its own collation only.
CREATE OR REPLACE FUNCTION gateway.as_public(type text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT 'x.user_id::' || type
        || CASE WHEN type IN ('text', 'character varying') THEN ' COLLATE pg_catalog."default"' ELSE '' END
$$;
