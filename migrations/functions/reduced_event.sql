-- What is left of an event: its id, type and time, and the id of its object. `mark` says why: `erased` or `expired`. An expired
-- event also keeps the status of its object, which tells since when a late payer is late. As `reduced_event` in
-- `src/ledger/person.rs` and `expired_event` in `src/ledger/expiry.rs`.
CREATE OR REPLACE FUNCTION gateway.reduced_event(document jsonb, mark text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'type', document -> 'type',
        'created', document -> 'created', 'livemode', document -> 'livemode',
        'api_version', document -> 'api_version', 'account', document -> 'account',
        'data', pg_catalog.jsonb_build_object(
            'object', pg_catalog.jsonb_build_object(
                'id', document #> '{data,object,id}', 'object', document #> '{data,object,object}',
                'status', CASE WHEN mark = 'expired' THEN document #> '{data,object,status}' END),
            'previous_attributes', CASE WHEN mark = 'expired' AND document #> '{data,previous_attributes,status}' IS NOT NULL
                THEN pg_catalog.jsonb_build_object('status', document #> '{data,previous_attributes,status}') END),
        mark, true))
$$;
