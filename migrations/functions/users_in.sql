-- The users that a document names in the fields for users; a UUID is in lower case.
CREATE OR REPLACE FUNCTION gateway.users_in(document jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE WHEN t ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN pg_catalog.lower(t)
                ELSE t END
    FROM pg_catalog.regexp_matches(
        document::text, '"(?:userId|user_id|client_reference_id)": "((?:[^"\\]|\\.)*)"', 'g') m
    CROSS JOIN LATERAL (SELECT pg_catalog.btrim(('"' || m[1] || '"')::jsonb #>> '{}', E' \t\r\n')) AS x (t)
$$;
