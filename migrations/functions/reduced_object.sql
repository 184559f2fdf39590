-- What is left of an erased object: its id and kind.
CREATE OR REPLACE FUNCTION gateway.reduced_object(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'erased', true))
$$;
