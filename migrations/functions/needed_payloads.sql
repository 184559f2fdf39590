-- Which of these events have a payload that may still decide what a row is when events newer than `reached` arrive. Of events
-- about a subscription or customer these are
--   - the moment up to which a later order can reach back, which is the last one before `reached` with a single event, and all
--     moments after it;
--   - those that tell which of the kept contents is the last: their moment, and as far back from it.
-- No other payload is needed, because rows hold what it says. As `needed` in `src/ledger/expiry.rs`; `gateway.settle` reads these
-- payloads through `gateway.moments_before`.
CREATE OR REPLACE FUNCTION gateway.needed_payloads(events text[], reached timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN ARRAY(
        -- Moment and rank as one number.
        WITH asked AS MATERIALIZED (
            SELECT DISTINCT e.object_id AS object, e.type LIKE 'customer.subscription.%' AS is_subscription
            FROM pg_catalog.unnest(events) i
            CROSS JOIN LATERAL (
                SELECT x.object_id, x.type FROM gateway.events x WHERE x.id = i COLLATE "C" OFFSET 0) e
            WHERE e.object_id IS NOT NULL AND (
                e.type LIKE 'customer.subscription.%'
                OR e.type IN ('customer.created', 'customer.updated', 'customer.deleted'))
        ), told AS MATERIALIZED (
            SELECT a.object, e.id, e.created, gateway.rank_of(e.type) AS rank,
                   (extract(epoch FROM e.created) * 1000000)::bigint * 10 + gateway.rank_of(e.type) AS moment
            FROM asked a
            CROSS JOIN LATERAL (
                SELECT x.id, x.type, x.created FROM gateway.events x
                WHERE x.object_id = a.object AND x.created <= reached OFFSET 0) e
            WHERE CASE WHEN a.is_subscription THEN e.type LIKE 'customer.subscription.%'
                ELSE e.type IN ('customer.created', 'customer.updated', 'customer.deleted') END
        ), moments AS MATERIALIZED (
            SELECT m.object, m.moment, m.is_single AND NOT (
                m.rank = 1 AND pg_catalog.bool_or(m.rank = 2) OVER (PARTITION BY m.object, m.created)) AS is_start
            FROM (
                SELECT t.object, t.created, t.rank, t.moment, pg_catalog.count(*) = 1 AS is_single
                FROM told t GROUP BY 1, 2, 3, 4) m
        ), reaching AS MATERIALIZED (
            SELECT a.object, (extract(epoch FROM reached) * 1000000)::bigint * 10 + 9 AS moment FROM asked a
            UNION
            SELECT a.object, pg_catalog.substr(v.version, 3, 20)::bigint * 10000 + pg_catalog.substr(v.version, 24, 1)::bigint
            FROM asked a
            CROSS JOIN LATERAL (
                SELECT k.version FROM gateway.kept_subscriptions k WHERE k.id = a.object
                UNION ALL SELECT k.version FROM gateway.kept_vouched k WHERE k.id = a.object
                UNION ALL SELECT k.version FROM gateway.kept_customers k WHERE k.id = a.object) v
            -- Fetched contents are not compared with events.
            WHERE pg_catalog.substr(v.version, 24, 1) < '4'
        ), spans AS MATERIALIZED (
            SELECT r.object, r.moment AS until, coalesce(
                pg_catalog.max(m.moment) FILTER (WHERE m.is_start AND m.moment < r.moment), 0) AS since
            FROM reaching r LEFT JOIN moments m ON m.object = r.object
            GROUP BY 1, 2
        )
        SELECT t.id FROM told t
        WHERE EXISTS (SELECT FROM spans s WHERE s.object = t.object AND t.moment BETWEEN s.since AND s.until));
END
$$;
