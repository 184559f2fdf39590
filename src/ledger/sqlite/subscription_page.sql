-- Mirrors `gateway.subscription_page`.
WITH looked AS MATERIALIZED (
    SELECT id FROM stripe_subscriptions WHERE :before IS NULL OR id < :before ORDER BY id DESC LIMIT 2000
), meant AS MATERIALIZED (
    SELECT s.id, s.livemode, s.account, s.customer_id, s.status, s.currency,
        CASE WHEN s.pause_resumes_at <= unixepoch() * 1000 THEN coalesce(s.resumed_mrr_minor, s.mrr_minor) ELSE s.mrr_minor END AS mrr_minor,
        s.will_cancel, s.price_id, g.entitles, g.tier, g.user_id IS NOT NULL AS has_user, s.current_period_end, s.grace_ends_at, s.ended_at,
        CASE WHEN NOT (g.entitles OR g.withheld AND NOT IS_DROPPED) THEN NULL WHEN g.user_id IS NULL AND json_extract(s.raw, '$.erased') THEN 'erased'
            WHEN g.withheld AND NOT IS_DROPPED THEN 'withheld' WHEN g.user_id IS NOT NULL THEN NULL
            WHEN g.claimed THEN 'contested' ELSE 'unnamed' END AS reason
    FROM looked l JOIN stripe_subscriptions s ON s.id = l.id JOIN subscription_grants g ON g.id = l.id
    WHERE CASE :chosen
        WHEN 'active' THEN g.entitles
        WHEN 'ending' THEN g.entitles AND s.will_cancel
        WHEN 'late' THEN s.status IN ('past_due', 'unpaid') AND s.ended_at IS NULL
        WHEN 'idle' THEN g.withheld AND NOT IS_DROPPED OR g.entitles AND g.user_id IS NULL
        WHEN 'unmapped' THEN g.entitles AND g.tier IS NULL
        WHEN 'ended' THEN s.ended_at IS NOT NULL
        ELSE 1 END
    ORDER BY s.id DESC LIMIT :most
)
SELECT json_object(
    'subscriptions', (SELECT json_group_array(json_object('id', id, 'livemode', json(iif(livemode, 'true', 'false')),
            'account', account, 'customer_id', customer_id, 'status', status, 'currency', currency, 'mrr_minor', mrr_minor,
            'will_cancel', json(iif(will_cancel, 'true', 'false')), 'price_id', price_id,
            'entitles', json(iif(entitles, 'true', 'false')), 'tier', tier, 'has_user', json(iif(has_user, 'true', 'false')),
            'current_period_end_ms', current_period_end, 'grace_ends_at_ms', grace_ends_at, 'ended_at_ms', ended_at,
            'reason', reason))
        FROM (SELECT * FROM meant ORDER BY id DESC)),
    'next', CASE
        WHEN (SELECT count(*) FROM meant) = :most THEN (SELECT min(id) FROM meant)
        WHEN (SELECT count(*) FROM looked) = 2000 THEN (SELECT min(id) FROM looked) END)
