-- The best subscription of each user, in the words of the public tables. `owners` lists the owner of each of `subscriptions`, in
-- the same order. `others` are subscriptions that are not the platform's, because rows of `public.subscriptions` already hold
-- them for a creator. The view `subscription_grants` has the same rule for what a subscription gives.
CREATE OR REPLACE FUNCTION gateway.best_of_users(owners text[], subscriptions text[], others text[])
RETURNS TABLE (
    user_id text, subscription_id text, customer_id text, status text, tier text, entitles boolean,
    current_period_start timestamptz, current_period_end timestamptz, canceled_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT DISTINCT ON (g.user_id)
        g.user_id, g.id, g.customer_id, g.status,
        CASE WHEN g.entitles THEN coalesce(
            g.tier,
            CASE WHEN g.is_open THEN (
                SELECT b.to_id FROM gateway.customer_bindings b
                WHERE b.kind = 'subscription_tier' AND b.from_id = g.id) END,
            'premium') ELSE 'free' END,
        g.entitles, g.current_period_start, g.current_period_end, g.canceled_at
    FROM (
        SELECT o.user_id, s.id, s.customer_id, s.current_period_start, s.current_period_end, s.canceled_at,
            s.tier IS NULL AND v.tier IS NULL AS is_open,
            CASE WHEN v.held THEN v.projected_status ELSE s.projected_status END AS status,
            CASE WHEN v.held THEN v.tier ELSE s.tier END AS tier,
            s.gives AND (v.id IS NULL OR v.entitles) AS entitles,
            CASE WHEN v.held THEN v.preference ELSE s.place END AS preference
        FROM ROWS FROM (pg_catalog.unnest(owners), pg_catalog.unnest(subscriptions)) AS o (user_id, id)
        CROSS JOIN LATERAL (
            SELECT t.id, t.customer_id, t.current_period_start, t.current_period_end, t.canceled_at, t.projected_status, t.tier,
                t.gives, CASE WHEN t.gives = t.entitles THEN t.preference
                -- Without access it ranks with others of its status: `mode.1.tier.status…` becomes `mode.0.status.tier…`.
                ELSE pg_catalog.left(t.preference, 2) || '0.' || pg_catalog.substr(t.preference, 8, 2) || '.'
                    || pg_catalog.substr(t.preference, 5, 2) || pg_catalog.substr(t.preference, 10) END AS place
            FROM (
                -- Only these columns, because PostgreSQL sets up every named column again for each batch.
                SELECT t.id, t.customer_id, t.current_period_start, t.current_period_end, t.canceled_at, t.projected_status,
                    t.tier, t.entitles, t.preference, t.entitles AND coalesce(t.access_from <= pg_catalog.now(), true)
                    AND coalesce(t.grace_ends_at > pg_catalog.now(), true) AS gives
                FROM gateway.stripe_subscriptions t WHERE t.id = (o.id COLLATE "C") OFFSET 0) t) s
        LEFT JOIN LATERAL (
            SELECT d.id, v.projected_status, v.tier, coalesce(v.entitles, false) AS entitles,
                coalesce(v.preference, '') AS preference, coalesce(v.preference, '') < s.place AS held
            FROM gateway.doubted_subscriptions d
            LEFT JOIN LATERAL (
                SELECT t.projected_status, t.tier, t.gives AS entitles,
                    CASE WHEN t.gives = t.entitles THEN t.preference
                        ELSE pg_catalog.left(t.preference, 2) || '0.' || pg_catalog.substr(t.preference, 8, 2) || '.'
                            || pg_catalog.substr(t.preference, 5, 2) || pg_catalog.substr(t.preference, 10)
                    END AS preference
                FROM (
                    SELECT v.projected_status, v.tier, v.entitles, v.preference, v.entitles AND coalesce(v.access_from <= pg_catalog.now(), true)
                        AND coalesce(v.grace_ends_at > pg_catalog.now(), true) AS gives
                    FROM gateway.vouched_subscriptions v WHERE v.id = d.id OFFSET 0) t) v ON true
            WHERE d.id = s.id OFFSET 0) v ON true
    ) g
    WHERE g.status IS NOT NULL AND NOT g.id = ANY (others)
    ORDER BY g.user_id, g.preference COLLATE "C" DESC
$$;
