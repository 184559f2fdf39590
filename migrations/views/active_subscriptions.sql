-- Subscriptions that entitle their user now.
CREATE OR REPLACE VIEW gateway.active_subscriptions AS
SELECT s.id, s.livemode, o.user_id, s.customer_id, s.status, s.projected_status, o.tier, s.currency, s.mrr_minor,
    s.current_period_start, s.current_period_end, s.will_cancel, s.cancel_at
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_owners o ON o.id = s.id
WHERE s.entitles;
