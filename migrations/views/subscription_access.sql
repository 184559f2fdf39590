-- Each subscription with its user, and what it gives and brings at this moment.
CREATE OR REPLACE VIEW gateway.subscription_access AS
SELECT s.id, s.livemode, s.account, g.user_id, s.customer_id, s.status, g.projected_status, g.entitles, g.tier, s.currency,
    CASE WHEN s.pause_resumes_at <= pg_catalog.now() THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
        ELSE s.mrr_minor END AS mrr_minor,
    s.will_cancel, s.will_renew, s.late_since, s.grace_ends_at, s.partial, s.items, s.current_period_start,
    s.current_period_end, s.cancel_at, s.source, g.preference
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id;
