-- Monthly recurring revenue by mode, account, tier and currency, in minor units. Revenue on a connected account belongs to that
-- account.
CREATE OR REPLACE VIEW gateway.recurring_revenue AS
SELECT a.livemode, a.account, a.tier, a.currency,
    pg_catalog.count(*) FILTER (WHERE a.entitles) AS subscriptions,
    pg_catalog.sum(a.mrr_minor)::bigint AS mrr_minor
FROM gateway.subscription_access a
WHERE a.entitles OR a.mrr_minor <> 0
GROUP BY 1, 2, 3, 4;
