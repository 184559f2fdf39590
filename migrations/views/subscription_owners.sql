-- The user and the tier of each subscription.
CREATE OR REPLACE VIEW gateway.subscription_owners AS
SELECT g.id, g.user_id, g.tier FROM gateway.subscription_grants g;
