-- The events that are not `refused` and of which at least one row is newer than what is there and than what events
-- before them in the batch bring; and, as `rows`, the events that have rows at all.
CREATE OR REPLACE FUNCTION gateway.changing_events(
    batch jsonb, refused integer[], OUT changing integer[], OUT rows integer[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    WITH incoming AS (
        -- The outcome of an event that a rule holds is known; the others change the vouched state or nothing.
        SELECT 1 AS relation, d.n, '' AS kind, d.id AS key, d.version,
               CASE WHEN EXISTS (SELECT FROM gateway.doubted_subscriptions x WHERE x.id = d.id)
                   THEN (SELECT v.version FROM gateway.vouched_subscriptions v WHERE v.id = d.id)
                   ELSE (SELECT t.version FROM gateway.stripe_subscriptions t WHERE t.id = d.id) END AS held
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
            n integer, suspect boolean, id text COLLATE "C", version text COLLATE "C")
        WHERE NOT d.suspect
        UNION ALL
        SELECT 2, d.n, '', d.id, d.version, (SELECT t.version FROM gateway.stripe_customers t WHERE t.id = d.id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 3, d.n, d.kind, d.from_id, d.version,
               (SELECT t.version FROM gateway.customer_bindings t WHERE t.kind = d.kind AND t.from_id = d.from_id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
            n integer, kind text COLLATE "C", from_id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 6, d.n, d.rank || ' ' || d.user_id, d.subject, d.version,
               (SELECT t.version FROM gateway.claims t
                WHERE t.subject = d.subject AND t.rank = d.rank AND t.user_id = d.user_id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (
            n integer, subject text COLLATE "C", rank smallint, user_id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 4, d.n, d.kind, d.key, d.version,
               (SELECT t.version FROM gateway.revenue_entries t WHERE t.kind = d.kind AND t.key = d.key)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 5, d.n, d.payment_id, d.invoice_id, d.version,
               (SELECT t.version FROM gateway.payment_links t
                WHERE t.payment_id = d.payment_id AND t.invoice_id = d.invoice_id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", invoice_id text COLLATE "C", version text COLLATE "C")
    ), placed AS (
        SELECT i.n, i.version, i.held,
            pg_catalog.max(i.version) OVER (
                PARTITION BY i.relation, i.kind, i.key ORDER BY i.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                AS before
        FROM incoming i WHERE i.n <> ALL (refused)
    )
    SELECT
        coalesce(pg_catalog.array_agg(DISTINCT p.n) FILTER (
            WHERE p.version > coalesce(p.held, '') AND p.version > coalesce(p.before, '')), '{}'),
        coalesce(pg_catalog.array_agg(DISTINCT p.n), '{}')
    INTO changing, rows
    FROM placed p;
END
$$;
