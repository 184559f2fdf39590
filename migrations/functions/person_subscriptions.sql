-- These subscriptions: what Stripe says of each, what is vouched for, and what each gives to which user.
CREATE OR REPLACE FUNCTION gateway.person_subscriptions(ids text[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.id, 'account', s.account, 'livemode', s.livemode, 'customer_id', s.customer_id, 'status', s.status,
        'entitles', s.entitles, 'tier', s.tier, 'version', s.version, 'source', s.source, 'currency', s.currency,
        'mrr_minor', CASE WHEN s.pause_resumes_at <= pg_catalog.now() THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
            ELSE s.mrr_minor END,
        'price_id', s.price_id, 'will_cancel', s.will_cancel, 'partial', s.partial,
        'pause_behavior', s.pause_behavior, 'started_at_ms', gateway.millis(coalesce(s.started_at, s.created)),
        'current_period_end_ms', gateway.millis(s.current_period_end), 'cancel_at_ms', gateway.millis(s.cancel_at),
        'canceled_at_ms', gateway.millis(s.canceled_at), 'ended_at_ms', gateway.millis(s.ended_at),
        'trial_end_ms', gateway.millis(s.trial_end), 'late_since_ms', gateway.millis(s.late_since),
        'grace_ends_at_ms', gateway.millis(s.grace_ends_at), 'access_from_ms', gateway.millis(s.access_from),
        'user_id', g.user_id, 'claimed', g.claimed, 'doubted', g.doubted, 'withheld', g.withheld,
        'dropped', g.withheld AND gateway.is_dropped(s.id, s.version), 'gives', g.entitles,
        'erased', s.raw ? 'erased', 'given_tier', g.tier,
        'vouched', CASE WHEN v.id IS NOT NULL THEN pg_catalog.jsonb_build_object(
            'status', v.status, 'entitles', v.entitles, 'tier', v.tier, 'version', v.version) END)
        ORDER BY g.preference DESC, s.id), '[]')
    FROM gateway.stripe_subscriptions s
    -- Looked up by key, so that the view does not work out the grants of all subscriptions.
    CROSS JOIN LATERAL (SELECT x.* FROM gateway.subscription_grants x WHERE x.id = s.id OFFSET 0) g
    LEFT JOIN gateway.vouched_subscriptions v ON v.id = s.id AND g.doubted
    WHERE s.id = ANY (ids)
$$;
