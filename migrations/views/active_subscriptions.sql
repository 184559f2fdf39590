-- Subscriptions that entitle their user now.
CREATE OR REPLACE VIEW gateway.active_subscriptions AS
SELECT a.id, a.livemode, a.user_id, a.customer_id, a.status, a.projected_status, a.tier, a.currency, a.mrr_minor,
    a.current_period_start, a.current_period_end, a.will_cancel, a.cancel_at, a.account, a.will_renew, a.grace_ends_at
FROM gateway.subscription_access a
WHERE a.entitles;
