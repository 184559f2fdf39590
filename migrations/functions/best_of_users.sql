-- The best subscription of each user, in the words of the public tables. `others` are subscriptions that are not the
-- platform's: rows of `public.subscriptions` already hold them for a creator.
CREATE OR REPLACE FUNCTION gateway.best_of_users(users text[], others text[])
RETURNS TABLE (
    user_id text, subscription_id text, customer_id text, status text, tier text, entitles boolean,
    current_period_start timestamptz, current_period_end timestamptz, canceled_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT DISTINCT ON (o.user_id)
        o.user_id, s.id, s.customer_id, s.projected_status,
        CASE WHEN s.entitles THEN coalesce(
            s.tier,
            (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_tier' AND b.from_id = s.id),
            'premium') ELSE 'free' END,
        s.entitles, s.current_period_start, s.current_period_end, s.canceled_at
    FROM gateway.subscriptions_of(users) o
    CROSS JOIN LATERAL (SELECT t.* FROM gateway.stripe_subscriptions t WHERE t.id = o.id OFFSET 0) s
    WHERE s.projected_status IS NOT NULL AND NOT s.id = ANY (others)
    ORDER BY o.user_id, s.preference COLLATE "C" DESC
$$;
