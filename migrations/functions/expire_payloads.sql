-- Reduces old payloads. It looks at the next `most` events from before `reached` that still have a payload, after the place
-- {"at", "id"}: creation time in microseconds, and id. A payload that may still decide what a row is stays whole. The answer is
-- {"last", "reduced"}: the last place looked at, and how many payloads were reduced.
CREATE OR REPLACE FUNCTION gateway.expire_payloads(reached timestamptz, after jsonb, most integer) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    after_at timestamptz := coalesce(
        pg_catalog.to_timestamp(0) + (after ->> 'at')::bigint * interval '1 microsecond', '-infinity');
    after_id text := coalesce(after ->> 'id', '');
    looked_at text[];
    last jsonb;
    reduced integer;
BEGIN
    -- Under the lock of batches, so that no contents arrive while this decides which are needed.
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    SELECT pg_catalog.array_agg(x.id ORDER BY x.created, x.id),
           (pg_catalog.array_agg(pg_catalog.jsonb_build_object(
                'at', (extract(epoch FROM x.created) * 1000000)::bigint, 'id', x.id)
                ORDER BY x.created DESC, x.id DESC))[1]
    INTO looked_at, last
    FROM (
        SELECT e.id, e.created FROM gateway.events e
        WHERE NOT e.reduced AND e.created <= reached AND (e.created, e.id) > (after_at, after_id)
        ORDER BY e.created, e.id LIMIT most) x;
    IF looked_at IS NULL THEN
        RETURN '{"last": null, "reduced": 0}';
    END IF;
    UPDATE gateway.events e SET reduced = true,
        payload = CASE WHEN e.payload ? 'erased' THEN e.payload ELSE gateway.reduced_event(e.payload, 'expired') END
    WHERE e.id = ANY (ARRAY(
        SELECT i FROM pg_catalog.unnest(looked_at) i EXCEPT SELECT pg_catalog.unnest(
            gateway.needed_payloads(looked_at, reached))));
    GET DIAGNOSTICS reduced = ROW_COUNT;
    RETURN pg_catalog.jsonb_build_object('last', last, 'reduced', reduced);
END
$$;
