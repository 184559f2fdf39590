-- Takes or keeps a lease unless another holder has it. With zero seconds it gives the lease back.
CREATE OR REPLACE FUNCTION gateway.take_lease(wanted text, who text, seconds integer, reached_ms bigint) RETURNS jsonb
LANGUAGE sql SET search_path = ''
AS $$
    WITH taken AS (
        INSERT INTO gateway.leases AS l (name, holder, until, covered)
        VALUES (wanted, who, pg_catalog.now() + seconds * interval '1 second',
                pg_catalog.to_timestamp(reached_ms / 1000.0))
        ON CONFLICT (name) DO UPDATE SET
            holder = CASE WHEN l.holder = excluded.holder OR l.until <= pg_catalog.now()
                          THEN excluded.holder ELSE l.holder END,
            until = CASE WHEN l.holder = excluded.holder OR l.until <= pg_catalog.now()
                         THEN excluded.until ELSE l.until END,
            covered = greatest(l.covered, excluded.covered)
        RETURNING l.holder, l.until, l.covered
    )
    SELECT pg_catalog.jsonb_build_object(
        'mine', t.holder = who AND t.until > pg_catalog.now(), 'until_ms', gateway.millis(t.until),
        'covered_ms', gateway.millis(t.covered))
    FROM taken t
$$;
