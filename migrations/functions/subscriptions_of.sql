-- The subscriptions of users: those bound to the user, and those of the user's customers that are bound to nobody.
CREATE OR REPLACE FUNCTION gateway.subscriptions_of(users text[]) RETURNS TABLE (user_id text, id text)
LANGUAGE sql STABLE
AS $$
    SELECT u.id, b.from_id
    FROM pg_catalog.unnest(users) AS u (id)
    CROSS JOIN LATERAL (
        SELECT b.from_id FROM gateway.customer_bindings b
        WHERE b.to_id = u.id AND b.kind = 'subscription_user' OFFSET 0) b
    UNION
    SELECT u.id, s.id
    FROM pg_catalog.unnest(users) AS u (id)
    CROSS JOIN LATERAL (
        SELECT b.from_id FROM gateway.customer_bindings b
        WHERE b.to_id = u.id AND b.kind = 'customer_user' OFFSET 0) b
    CROSS JOIN LATERAL (
        SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = b.from_id OFFSET 0) s
    WHERE (SELECT o.to_id FROM gateway.customer_bindings o
           WHERE o.kind = 'subscription_user' AND o.from_id = s.id) IS NULL
$$;
