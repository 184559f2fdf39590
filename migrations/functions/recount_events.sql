-- The next `most` events after the id `start`, but no more than about `bytes` of payload, and at least one. Applied, stale and
-- ignored events come with their payload if it is still kept.
CREATE OR REPLACE FUNCTION gateway.recount_events(start text, most integer, bytes bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', p.id, 'object_id', p.object_id, 'payload', p.payload) ORDER BY p.id), '[]')
    FROM (
        SELECT e.id, e.object_id, e.payload, pg_catalog.row_number() OVER w AS place,
            pg_catalog.sum(pg_catalog.length(e.payload::text)) OVER w AS so_far
        FROM (
            SELECT x.id, x.object_id, CASE WHEN NOT x.reduced AND x.outcome IN ('applied', 'stale', 'ignored')
                THEN x.payload END AS payload
            FROM gateway.events x WHERE x.id > (start COLLATE "C") ORDER BY x.id LIMIT most) e
        WINDOW w AS (ORDER BY e.id)) p
    WHERE p.place = 1 OR coalesce(p.so_far, 0) <= bytes
$$;
