-- Monthly recurring revenue by mode, tier and currency, in minor units.
CREATE OR REPLACE VIEW gateway.recurring_revenue AS
SELECT s.livemode, o.tier, s.currency,
    pg_catalog.count(*) FILTER (WHERE s.entitles) AS subscriptions,
    pg_catalog.sum(s.mrr_minor)::bigint AS mrr_minor
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_owners o ON o.id = s.id
WHERE s.entitles OR s.mrr_minor <> 0
GROUP BY 1, 2, 3;
