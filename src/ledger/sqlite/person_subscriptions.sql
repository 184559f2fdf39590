-- Mirrors `gateway.person_subscriptions`, up to the condition that chooses the subscriptions.
SELECT json_object('id', s.id, 'account', s.account, 'livemode', json(iif(s.livemode, 'true', 'false')),
    'customer_id', s.customer_id, 'status', s.status, 'entitles', json(iif(s.entitles, 'true', 'false')), 'tier', s.tier,
    'version', s.version, 'source', s.source, 'currency', s.currency, 'mrr_minor',
    CASE WHEN s.pause_resumes_at <= unixepoch() * 1000 THEN coalesce(s.resumed_mrr_minor, s.mrr_minor) ELSE s.mrr_minor END, 'price_id', s.price_id,
    'will_cancel', json(iif(s.will_cancel, 'true', 'false')), 'partial', json(iif(s.partial, 'true', 'false')),
    'pause_behavior', s.pause_behavior, 'started_at_ms', coalesce(s.started_at, s.created),
    'current_period_end_ms', s.current_period_end, 'cancel_at_ms', s.cancel_at, 'canceled_at_ms', s.canceled_at,
    'ended_at_ms', s.ended_at, 'trial_end_ms', s.trial_end, 'late_since_ms', s.late_since,
    'grace_ends_at_ms', s.grace_ends_at, 'access_from_ms', s.access_from, 'user_id', g.user_id,
    'claimed', json(iif(g.claimed, 'true', 'false')), 'doubted', json(iif(g.doubted, 'true', 'false')),
    'withheld', json(iif(g.withheld, 'true', 'false')),
    'dropped', json(iif(g.withheld AND IS_DROPPED, 'true', 'false')), 'gives', json(iif(g.entitles, 'true', 'false')),
    'erased', json(iif(json_extract(s.raw, '$.erased'), 'true', 'false')), 'given_tier', g.tier,
    'vouched', CASE WHEN v.id IS NOT NULL THEN json_object('status', v.status,
        'entitles', json(iif(v.entitles, 'true', 'false')), 'tier', v.tier, 'version', v.version) END) AS line
FROM stripe_subscriptions s JOIN subscription_grants g ON g.id = s.id
LEFT JOIN vouched_subscriptions v ON v.id = s.id AND g.doubted
