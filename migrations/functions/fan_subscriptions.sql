-- Which of these subscriptions are not the platform's, because a row of `public.subscriptions` holds them for a creator. `owners`
-- are their users, in the same order. A row of another subscriber says nothing about them, and neither does one that users could
-- have written.
CREATE OR REPLACE FUNCTION gateway.fan_subscriptions(owners text[], subscriptions text[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT o.id
        FROM ROWS FROM (pg_catalog.unnest(owners), pg_catalog.unnest(subscriptions)) AS o (user_id, id)
        CROSS JOIN LATERAL (
            SELECT FROM public.subscriptions t
            WHERE t.stripe_subscription_id = (o.id COLLATE pg_catalog."default")
              AND t.creator_id <> t.subscriber_id AND t.subscriber_id::text = o.user_id LIMIT 1) t
        WHERE NOT EXISTS (
            SELECT FROM gateway.doubtful_fans d WHERE d.subscription_id = (o.id COLLATE "C") OFFSET 0));
END
$$;
