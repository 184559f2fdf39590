-- Money by mode, day (UTC) and currency, in minor units; what went out is negative.
CREATE OR REPLACE VIEW gateway.daily_revenue AS
SELECT c.livemode, (c.occurred_at AT TIME ZONE 'UTC')::date AS day, c.currency,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind IN ('invoice', 'payment')), 0)::bigint AS gross_minor,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind NOT IN ('invoice', 'payment')), 0)::bigint
        AS returned_minor,
    pg_catalog.sum(c.amount_minor)::bigint AS net_minor
FROM gateway.counted_revenue c
GROUP BY 1, 2, 3;
