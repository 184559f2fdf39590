-- Where the gateway would show something else than another system has written, and why. Identifiers, no personal data.
CREATE OR REPLACE FUNCTION gateway.shadow_differences()
RETURNS TABLE (
    relation text, kind text, subject text, field text, here_says text, there_says text, cause text)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH here AS MATERIALIZED (SELECT * FROM gateway.would_show()),
    platform AS MATERIALIZED (
        SELECT o.*, o.says ->> 'status' IN ('active', 'trialing') AS gave FROM gateway.others_subscriptions() o),
    tiers AS MATERIALIZED (
        SELECT o.*, o.says ->> 'status' IN ('active', 'trialing') AS gave FROM gateway.others_tiers() o),
    profiles AS MATERIALIZED (SELECT * FROM gateway.others_profiles()),
    found AS (
        SELECT 'subscriptions' AS relation, 'missing_there' AS kind, h.id AS subject, NULL AS field, h.says ->> 'status' AS here,
            NULL AS there, h.raw, h.gives, false AS gave
        FROM here h
        WHERE h.platform AND NOT EXISTS (SELECT FROM platform t WHERE t.id = h.id)
          AND gateway.projection('subscriptions') IS NOT NULL
        UNION ALL
        SELECT 'subscriptions', 'missing_here', t.id, NULL, NULL, t.says ->> 'status', NULL, false, t.gave FROM platform t
        WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
        UNION ALL
        SELECT 'subscriptions', 'different', t.id, d.field, d.here_says, d.there_says, h.raw, h.gives, t.gave
        FROM platform t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
        UNION ALL
        SELECT 'subscription_tiers', 'missing_there', h.id, NULL, h.says ->> 'status', NULL, h.raw, h.gives, false FROM here h
        WHERE h.projected AND NOT EXISTS (SELECT FROM tiers t WHERE t.id = h.id)
          AND gateway.projection('subscription_tiers') IS NOT NULL
        UNION ALL
        SELECT 'subscription_tiers', 'missing_here', t.id, NULL, NULL, t.says ->> 'status', NULL, false, t.gave FROM tiers t
        WHERE NOT EXISTS (SELECT FROM here h WHERE h.id = t.id)
        UNION ALL
        SELECT 'subscription_tiers', 'different', t.id, d.field, d.here_says, d.there_says, h.raw, h.gives, t.gave
        FROM tiers t JOIN here h ON h.id = t.id, LATERAL gateway.field_differences(h.says, t.says) d
        UNION ALL
        SELECT 'user_profiles', 'missing_there', a.user_id, NULL, a.tier, NULL, s.status, a.entitles, false
        FROM gateway.user_access a LEFT JOIN gateway.stripe_subscriptions s ON s.id = a.subscription_id
        WHERE a.entitles AND NOT EXISTS (SELECT FROM profiles p WHERE p.id = a.user_id)
          AND gateway.projection('user_profiles') IS NOT NULL
        UNION ALL
        SELECT 'user_profiles', 'missing_here', p.id, NULL, NULL, 'premium', NULL, false, true FROM profiles p
        WHERE p.premium AND NOT EXISTS (SELECT FROM gateway.user_access a WHERE a.user_id = p.id)
        UNION ALL
        SELECT 'user_profiles', 'different', p.id, d.field, d.here_says, d.there_says, s.status, a.entitles, p.premium
        FROM profiles p JOIN gateway.user_access a ON a.user_id = p.id
        LEFT JOIN gateway.stripe_subscriptions s ON s.id = a.subscription_id,
        LATERAL gateway.field_differences(pg_catalog.jsonb_build_object(
            'premium', a.entitles, 'tier', a.tier, 'plan', CASE WHEN a.entitles THEN 'premium' ELSE 'free' END), p.says) d
    )
    SELECT f.relation, f.kind, f.subject, f.field, f.here, f.there,
        gateway.cause_of(f.kind, f.field, f.here, f.there, f.raw, f.gives, f.gave)
    FROM found f
$$;
