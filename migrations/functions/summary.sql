-- Counts, recurring revenue and the money of each day as one document, for `public.gateway_summary`.
CREATE OR REPLACE FUNCTION gateway.summary(days integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    SELECT pg_catalog.jsonb_build_object(
        'counts', (SELECT pg_catalog.jsonb_build_object(
            'events', (SELECT pg_catalog.count(*) FROM gateway.events),
            'quarantined', (SELECT pg_catalog.count(*) FROM gateway.events e WHERE e.outcome = 'quarantined'),
            'subscriptions', (SELECT pg_catalog.count(*) FROM gateway.stripe_subscriptions),
            'orphans', (SELECT pg_catalog.count(*) FROM gateway.subscription_owners o WHERE o.user_id IS NULL),
            'customers', (SELECT pg_catalog.count(*) FROM gateway.stripe_customers),
            'claims', (SELECT pg_catalog.count(*) FROM gateway.claims),
            'revenue_entries', (SELECT pg_catalog.count(*) FROM gateway.revenue_entries),
            'findings', (SELECT pg_catalog.count(*) FROM gateway.findings),
            'decisions', (SELECT pg_catalog.count(*) FROM gateway.guardian_decisions),
            'not_shown', (SELECT pg_catalog.count(*) FROM gateway.user_access a WHERE NOT a.shown))),
        'recurring', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(r)
                ORDER BY r.livemode DESC, r.account COLLATE "C" NULLS FIRST, r.currency COLLATE "C" NULLS FIRST, r.tier COLLATE "C" NULLS FIRST), '[]')
            FROM gateway.recurring_revenue r),
        'daily', (WITH daily AS MATERIALIZED (SELECT * FROM gateway.daily_revenue)
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d)
                ORDER BY d.day DESC, d.account COLLATE "C" NULLS FIRST, d.livemode DESC, d.currency COLLATE "C"), '[]')
            FROM daily d WHERE d.day IN (SELECT DISTINCT x.day FROM daily x ORDER BY 1 DESC LIMIT days)))
$$;
