-- What is left of an object: which one it was.
CREATE OR REPLACE FUNCTION gateway.reduced_object(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'erased', true))
$$;
