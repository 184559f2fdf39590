-- A page of subscriptions without their users, by descending id, starting below `before`. It looks at 2,000 at most, so a page
-- may be short and still have a next one.
CREATE OR REPLACE FUNCTION gateway.subscription_page(chosen text, before text, most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    WITH looked AS MATERIALIZED (
        SELECT s.id FROM gateway.stripe_subscriptions s WHERE before IS NULL OR s.id < (before COLLATE "C")
        ORDER BY s.id DESC LIMIT 2000
    ), meant AS MATERIALIZED (
        SELECT s.id, s.livemode, s.account, s.customer_id, s.status, s.currency,
            CASE WHEN s.pause_resumes_at <= pg_catalog.now() THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
                ELSE s.mrr_minor END AS mrr_minor,
            s.will_cancel, s.price_id, g.entitles, g.tier, g.user_id IS NOT NULL AS has_user, gateway.millis(s.current_period_end) AS current_period_end_ms,
            gateway.millis(s.grace_ends_at) AS grace_ends_at_ms, gateway.millis(s.ended_at) AS ended_at_ms,
            CASE WHEN NOT (g.entitles OR w.withheld) THEN NULL WHEN g.user_id IS NULL AND s.raw ? 'erased' THEN 'erased'
                WHEN w.withheld THEN 'withheld' WHEN u.unfit THEN 'unfit' WHEN g.user_id IS NOT NULL THEN NULL
                WHEN g.claimed THEN 'contested' ELSE 'unnamed' END AS reason
        FROM looked l JOIN gateway.stripe_subscriptions s ON s.id = l.id
        -- Looked up by key, so that the view does not work out the grants of all subscriptions.
        CROSS JOIN LATERAL (SELECT x.* FROM gateway.subscription_grants x WHERE x.id = l.id OFFSET 0) g
        CROSS JOIN LATERAL (SELECT EXISTS (
            SELECT FROM gateway.user_access a
            WHERE a.user_id = g.user_id AND NOT a.shown AND a.fault LIKE 'the user''s id does not fit%') AS unfit) u
        -- What a person dropped waits for nothing any more.
        CROSS JOIN LATERAL (SELECT g.withheld AND NOT gateway.is_dropped(s.id, s.version) AS withheld) w
        WHERE CASE chosen
            WHEN 'active' THEN g.entitles
            WHEN 'ending' THEN g.entitles AND s.will_cancel
            WHEN 'late' THEN s.status IN ('past_due', 'unpaid') AND s.ended_at IS NULL
            WHEN 'idle' THEN w.withheld OR g.entitles AND (g.user_id IS NULL OR u.unfit)
            WHEN 'unmapped' THEN g.entitles AND g.tier IS NULL
            WHEN 'ended' THEN s.ended_at IS NOT NULL
            ELSE true END
        ORDER BY s.id DESC LIMIT most
    )
    SELECT pg_catalog.jsonb_build_object(
        'subscriptions', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) ORDER BY m.id DESC), '[]') FROM meant m),
        'next', CASE
            WHEN (SELECT pg_catalog.count(*) FROM meant) = most THEN (SELECT pg_catalog.min(m.id) FROM meant m)
            WHEN (SELECT pg_catalog.count(*) FROM looked) = 2000 THEN (SELECT pg_catalog.min(l.id) FROM looked l) END)
$$;
