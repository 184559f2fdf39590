-- What is left of an event: which one it was, of which type and when, and the id of its object.
CREATE OR REPLACE FUNCTION gateway.reduced_event(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'type', document -> 'type',
        'created', document -> 'created', 'livemode', document -> 'livemode',
        'api_version', document -> 'api_version', 'account', document -> 'account',
        'data', pg_catalog.jsonb_build_object('object', pg_catalog.jsonb_build_object(
            'id', document #> '{data,object,id}', 'object', document #> '{data,object,object}')),
        'erased', true))
$$;
