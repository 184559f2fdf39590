-- Subscriptions that entitle their user now.
CREATE OR REPLACE VIEW gateway.active_subscriptions AS
SELECT s.id, s.livemode, g.user_id, s.customer_id, s.status, g.projected_status, g.tier, s.currency, s.mrr_minor,
    s.current_period_start, s.current_period_end, s.will_cancel, s.cancel_at
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id
WHERE g.entitles;
