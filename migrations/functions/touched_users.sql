-- The users whose access these subscriptions may change: those whom claims about them or their customers name, and those who are
-- shown one of them.
CREATE OR REPLACE FUNCTION gateway.touched_users(subscriptions text[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF subscriptions = '{}' THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT c.user_id
        FROM pg_catalog.unnest(subscriptions) AS s (id)
        CROSS JOIN LATERAL (
            SELECT k.user_id FROM gateway.claims k
            WHERE k.subject = ANY (ARRAY[s.id COLLATE "C", (
                SELECT t.customer_id FROM gateway.stripe_subscriptions t WHERE t.id = (s.id COLLATE "C"))])
            OFFSET 0) c
        UNION
        SELECT a.user_id
        FROM pg_catalog.unnest(subscriptions) AS s (id)
        CROSS JOIN LATERAL (
            SELECT a.user_id FROM gateway.user_access a WHERE a.subscription_id = (s.id COLLATE "C") OFFSET 0) a
    );
END
$$;
