-- The events that are not `refused` and of which at least one row is newer than what is there and than what events
-- before them in the batch bring; and, as `rows`, the events that have rows at all. `doubtful` are subscriptions and customers
-- of which the greatest version is not enough: several contents of one moment and kind that events tell (the first 24 letters
-- of a version, fetched ones apart), or contents that list only a part. See `gateway.settle`.
CREATE OR REPLACE FUNCTION gateway.changing_events(
    batch jsonb, refused integer[], OUT changing integer[], OUT rows integer[], OUT doubtful text[])
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    WITH incoming AS (
        -- The outcome of an event that a rule holds is known; the others change the vouched state or nothing.
        SELECT 1 AS relation, d.n, '' AS kind, d.id AS key, d.version,
               CASE WHEN EXISTS (SELECT FROM gateway.doubted_subscriptions x WHERE x.id = d.id)
                   THEN (SELECT v.version FROM gateway.vouched_subscriptions v WHERE v.id = d.id)
                   ELSE t.version END AS held,
               d.suspect, t.version AS stored, d.partial OR coalesce(t.tied OR t.partial, false) AS doubt
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
            n integer, suspect boolean, id text COLLATE "C", version text COLLATE "C", partial boolean)
        LEFT JOIN LATERAL (
            SELECT s.version, s.tied, s.partial FROM gateway.stripe_subscriptions s WHERE s.id = d.id OFFSET 0) t ON true
        UNION ALL
        SELECT 2, d.n, '', d.id, d.version, t.version, false, t.version, coalesce(t.tied, false)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C")
        LEFT JOIN LATERAL (
            SELECT c.version, c.tied FROM gateway.stripe_customers c WHERE c.id = d.id OFFSET 0) t ON true
        UNION ALL
        SELECT 3, d.n, d.kind, d.from_id, d.version,
               (SELECT t.version FROM gateway.customer_bindings t WHERE t.kind = d.kind AND t.from_id = d.from_id), false, NULL, false
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
            n integer, kind text COLLATE "C", from_id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 6, d.n, d.rank || ' ' || d.user_id, d.subject, d.version,
               (SELECT t.version FROM gateway.claims t
                WHERE t.subject = d.subject AND t.rank = d.rank AND t.user_id = d.user_id), false, NULL, false
        FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (
            n integer, subject text COLLATE "C", rank smallint, user_id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 4, d.n, d.kind, d.key, d.version,
               (SELECT t.version FROM gateway.revenue_entries t WHERE t.kind = d.kind AND t.key = d.key), false, NULL, false
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 5, d.n, d.payment_id, d.invoice_id, d.version,
               (SELECT t.version FROM gateway.payment_links t
                WHERE t.payment_id = d.payment_id AND t.invoice_id = d.invoice_id), false, NULL, false
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", invoice_id text COLLATE "C", version text COLLATE "C")
    ), placed AS (
        SELECT i.n, i.relation, i.key, i.version, i.held, i.suspect, i.stored, i.doubt,
            pg_catalog.max(i.version) FILTER (WHERE NOT i.suspect) OVER earlier AS before,
            pg_catalog.max(i.version) OVER earlier AS mate
        FROM incoming i WHERE i.n <> ALL (refused)
        WINDOW earlier AS (
            PARTITION BY i.relation, i.kind, i.key ORDER BY i.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    SELECT
        coalesce(pg_catalog.array_agg(DISTINCT p.n) FILTER (
            WHERE NOT p.suspect AND p.version > coalesce(p.held, '') AND p.version > coalesce(p.before, '')), '{}'),
        coalesce(pg_catalog.array_agg(DISTINCT p.n) FILTER (WHERE NOT p.suspect), '{}'),
        coalesce(pg_catalog.array_agg(DISTINCT p.key) FILTER (
            WHERE p.relation <= 2 AND (
                p.doubt OR pg_catalog.substr(p.version, 24, 1) < '4' AND (
                    p.version <> p.stored AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.stored, 24)
                    OR p.version <> p.mate AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.mate, 24)))), '{}')
    INTO changing, rows, doubtful
    FROM placed p;
END
$$;
