-- The subscriptions of these users: of all that claims may give to a user, those that are the user's by the rule of owners.
CREATE OR REPLACE FUNCTION gateway.subscriptions_of(users text[]) RETURNS TABLE (user_id text, id text)
LANGUAGE sql STABLE
AS $$
    SELECT o.user_id, o.id
    FROM gateway.owners(ARRAY(
        SELECT c.subject
        FROM pg_catalog.unnest(users) AS u (id)
        CROSS JOIN LATERAL (
            SELECT c.subject FROM gateway.claims c
            WHERE c.user_id = (u.id COLLATE "C") AND c.rank NOT IN (10, 30, 40, 50, 60) OFFSET 0) c
        UNION
        SELECT s.id
        FROM pg_catalog.unnest(users) AS u (id)
        CROSS JOIN LATERAL (
            SELECT c.subject FROM gateway.claims c
            WHERE c.user_id = (u.id COLLATE "C") AND c.rank IN (10, 30, 40, 50, 60) OFFSET 0) c
        CROSS JOIN LATERAL (
            SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = c.subject OFFSET 0) s
    )) o
    -- An object finds its keys by binary search; an array would be read from its beginning for each row.
    WHERE (SELECT pg_catalog.jsonb_object_agg(u, true) FROM pg_catalog.unnest(users) u) ? o.user_id
$$;
