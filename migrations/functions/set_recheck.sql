-- Notes the next moment at which time alone changes what a subscription gives: a pause or a late payer's grace ends, in the truth
-- or in the vouched state.
CREATE OR REPLACE FUNCTION gateway.set_recheck(object text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE gateway.stripe_subscriptions s SET recheck_at = (
        SELECT pg_catalog.min(m.moment)
        FROM (
            SELECT s.access_from AS moment
            UNION ALL SELECT s.grace_ends_at
            UNION ALL SELECT v.access_from FROM gateway.vouched_subscriptions v WHERE v.id = object
            UNION ALL SELECT v.grace_ends_at FROM gateway.vouched_subscriptions v WHERE v.id = object
        ) m
        WHERE m.moment > pg_catalog.now())
    WHERE s.id = object;
END
$$;
