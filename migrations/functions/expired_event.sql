-- What is left of an event whose payload is no longer kept: what is left of one that is erased, and the status of its object,
-- by which it is known since when a late payer is late. As `expired_event` in `src/ledger/expiry.rs`.
CREATE OR REPLACE FUNCTION gateway.expired_event(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'type', document -> 'type',
        'created', document -> 'created', 'livemode', document -> 'livemode',
        'api_version', document -> 'api_version', 'account', document -> 'account',
        'data', pg_catalog.jsonb_build_object(
            'object', pg_catalog.jsonb_build_object(
                'id', document #> '{data,object,id}', 'object', document #> '{data,object,object}',
                'status', document #> '{data,object,status}'),
            'previous_attributes', CASE WHEN document #> '{data,previous_attributes,status}' IS NOT NULL
                THEN pg_catalog.jsonb_build_object('status', document #> '{data,previous_attributes,status}') END),
        'expired', true))
$$;
