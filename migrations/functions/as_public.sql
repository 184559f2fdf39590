-- The expression that gives a user's id the type of a public column, one of `gateway.base_type`, and its collation: the gateway's own
-- columns compare by byte, and an index serves comparisons of its own collation only.
CREATE OR REPLACE FUNCTION gateway.as_public(type text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    -- `character` without a length is one character.
    SELECT 'x.user_id::' || CASE type WHEN 'character' THEN 'pg_catalog.bpchar' ELSE type END
        || CASE WHEN type IN ('text', 'character varying', 'character') OR type ~ '(^|\.)citext$'
            THEN ' COLLATE pg_catalog."default"' ELSE '' END
$$;
