-- Money by account (null is the operator's own), mode, day (UTC) and currency, in minor units; outgoing money is negative.
-- `outside_minor` is how much of the incoming money came around Stripe.
CREATE OR REPLACE VIEW gateway.daily_revenue AS
SELECT c.account, c.livemode, (c.occurred_at AT TIME ZONE 'UTC')::date AS day, c.currency,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind IN ('invoice', 'payment', 'part')), 0)::bigint
        AS gross_minor,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind NOT IN ('invoice', 'payment', 'part')), 0)::bigint
        AS returned_minor,
    pg_catalog.sum(c.amount_minor)::bigint AS net_minor,
    pg_catalog.sum(c.outside_minor)::bigint AS outside_minor
FROM gateway.counted_revenue c
GROUP BY 1, 2, 3, 4;
