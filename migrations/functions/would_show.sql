-- What the gateway would show of each subscription. `platform` says whether it is the one that stands for its user. `raw` is
-- Stripe's status, `gives` whether it gives access.
CREATE OR REPLACE FUNCTION gateway.would_show()
RETURNS TABLE (id text, platform boolean, projected boolean, raw text, gives boolean, says jsonb)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT s.id, a.user_id IS NOT NULL, o.projected_status IS NOT NULL AND o.user_id IS NOT NULL, s.status, o.entitles,
        pg_catalog.jsonb_build_object(
            'user', o.user_id,
            'status', CASE WHEN o.entitles AND (o.projected_status <> 'past_due' OR late.told = 'active')
                THEN 'active' ELSE o.projected_status END,
            'tier', CASE WHEN o.entitles THEN coalesce(o.tier, 'premium') ELSE 'free' END,
            'bought', coalesce(o.tier, 'premium'),
            'period_start', extract(epoch FROM s.current_period_start)::bigint,
            'period_end', extract(epoch FROM s.current_period_end)::bigint)
    FROM gateway.stripe_subscriptions s
    JOIN gateway.subscription_grants o ON o.id = s.id
    CROSS JOIN (SELECT m.late_payers AS told FROM gateway.operation m) late
    LEFT JOIN gateway.user_access a ON a.user_id = o.user_id AND a.subscription_id = s.id
$$;
