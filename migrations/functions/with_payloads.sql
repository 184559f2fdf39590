-- Brings a batch of an earlier release, in which each event has its payload, into the form of `public.gateway_apply_batch`.
CREATE OR REPLACE FUNCTION gateway.with_payloads(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN batch || pg_catalog.jsonb_build_object(
        'payloads', (SELECT coalesce(pg_catalog.jsonb_object_agg(e ->> 'n', e -> 'payload'), '{}')
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') e),
        'events', (SELECT coalesce(pg_catalog.jsonb_agg(e - 'payload' ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') WITH ORDINALITY AS x (e, place)));
END
$$;
