-- The user and the tier of each subscription, as the bindings say.
CREATE OR REPLACE VIEW gateway.subscription_owners AS
SELECT s.id,
    coalesce(
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_user' AND b.from_id = s.id),
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'customer_user' AND b.from_id = s.customer_id)
    ) AS user_id,
    coalesce(
        s.tier,
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_tier' AND b.from_id = s.id)
    ) AS tier
FROM gateway.stripe_subscriptions s;
