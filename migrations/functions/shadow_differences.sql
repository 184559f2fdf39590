-- Where what would be shown and what another system has written differ. Identifiers, no personal data.
CREATE OR REPLACE FUNCTION gateway.shadow_differences()
RETURNS TABLE (relation text, kind text, subject text, field text, here_says text, there_says text)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH here AS MATERIALIZED (SELECT * FROM gateway.would_show()),
    platform AS MATERIALIZED (SELECT * FROM gateway.others_subscriptions()),
    tiers AS MATERIALIZED (SELECT * FROM gateway.others_tiers()),
    profiles AS MATERIALIZED (SELECT * FROM gateway.others_profiles())
    SELECT 'subscriptions', 'missing_there', h.id, NULL, h.says ->> 'status', NULL FROM here h
    WHERE h.platform AND NOT EXISTS (SELECT FROM platform t WHERE t.id = h.id)
      AND gateway.projection('subscriptions') IS NOT NULL
    UNION ALL
    SELECT 'subscriptions', 'missing_here', t.id, NULL, NULL, t.says ->> 'status' FROM platform t
    WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
    UNION ALL
    SELECT 'subscriptions', 'different', t.id, d.field, d.here_says, d.there_says
    FROM platform t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
    UNION ALL
    SELECT 'subscription_tiers', 'missing_there', h.id, NULL, h.says ->> 'status', NULL FROM here h
    WHERE h.projected AND NOT EXISTS (SELECT FROM tiers t WHERE t.id = h.id)
      AND gateway.columns_of('public.subscription_tiers')
          ?& ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
    UNION ALL
    SELECT 'subscription_tiers', 'missing_here', t.id, NULL, NULL, t.says ->> 'status' FROM tiers t
    WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
    UNION ALL
    SELECT 'subscription_tiers', 'different', t.id, d.field, d.here_says, d.there_says
    FROM tiers t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
    UNION ALL
    SELECT 'user_profiles', 'missing_there', a.user_id, NULL, a.tier, NULL FROM gateway.user_access a
    WHERE a.entitles AND NOT EXISTS (SELECT FROM profiles p WHERE p.id = a.user_id)
      AND gateway.columns_of('public.user_profiles') ?& ARRAY['id', 'is_premium']
    UNION ALL
    SELECT 'user_profiles', 'missing_here', p.id, NULL, NULL, 'premium' FROM profiles p
    WHERE p.premium AND NOT EXISTS (SELECT FROM gateway.user_access a WHERE a.user_id = p.id)
    UNION ALL
    SELECT 'user_profiles', 'different', p.id, d.field, d.here_says, d.there_says
    FROM profiles p JOIN gateway.user_access a ON a.user_id = p.id,
    LATERAL gateway.field_differences(pg_catalog.jsonb_build_object(
        'premium', a.entitles, 'tier', a.tier, 'plan', CASE WHEN a.entitles THEN 'premium' ELSE 'free' END), p.says) d
$$;
