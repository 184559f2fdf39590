-- Monthly recurring revenue by mode, tier and currency, in minor units.
CREATE OR REPLACE VIEW gateway.recurring_revenue AS
SELECT s.livemode, g.tier, s.currency,
    pg_catalog.count(*) FILTER (WHERE g.entitles) AS subscriptions,
    pg_catalog.sum(s.mrr_minor)::bigint AS mrr_minor
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id
WHERE g.entitles OR s.mrr_minor <> 0
GROUP BY 1, 2, 3;
