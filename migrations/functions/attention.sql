-- What a person should look at besides events. It names at most `most` subscriptions that should give access and do not, and at
-- most `most` users that the public tables do not take. It counts the findings, and lists policies that let users do too much and
-- what is left to build.
--
-- A subscription is `untold` if it was paid for, or its checkout was completed, and ten minutes later no event has told what it
-- is. Purchases of more than 400 days ago are left out: they may be of subscriptions that ended before the gateway came.
CREATE OR REPLACE FUNCTION gateway.attention(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    WITH unseen AS MATERIALIZED (
        SELECT b.from_id AS id, b.to_id AS customer_id, b.evidence, b.version FROM gateway.customer_bindings b
        WHERE b.kind = 'subscription_customer'
          AND NOT EXISTS (SELECT FROM gateway.stripe_subscriptions s WHERE s.id = b.from_id)
    ),
    bought AS (
        SELECT u.id, r.version FROM unseen u JOIN gateway.revenue_entries r ON r.subscription_id = u.id AND r.amount_minor > 0
        UNION ALL
        SELECT u.id, u.version FROM unseen u WHERE u.evidence = 'checkout.session'
        UNION ALL
        SELECT u.id, c.version FROM unseen u JOIN gateway.claims c ON c.subject = u.id AND c.evidence LIKE 'checkout.session%'
    ),
    untold AS MATERIALIZED (
        SELECT u.id, u.customer_id, pg_catalog.min(e.account) AS account, pg_catalog.bool_or(e.livemode) AS livemode
        FROM unseen u JOIN bought b ON b.id = u.id JOIN gateway.events e ON e.id = gateway.event_of(b.version)
        GROUP BY u.id, u.customer_id
        HAVING pg_catalog.min(e.recorded_at) <= pg_catalog.now() - interval '10 minutes'
           AND pg_catalog.max(e.created) > pg_catalog.now() - interval '400 days'
    ),
    unowned AS MATERIALIZED (
        SELECT s.id, s.customer_id, s.account, s.livemode, s.status, s.tier, g.user_id, g.preference,
            CASE WHEN g.user_id IS NULL AND s.raw ? 'erased' THEN 'erased'
                WHEN g.withheld THEN 'withheld'
                WHEN g.user_id IS NOT NULL THEN 'unfit'
                WHEN g.claimed THEN 'contested'
                ELSE 'unnamed' END AS reason
        FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id
        -- Time counts: after a late payer's grace, or during a pause, a subscription gives nothing to anyone.
        WHERE s.entitles AND (g.withheld OR g.entitles AND (g.user_id IS NULL OR EXISTS (
            SELECT FROM gateway.user_access a
            WHERE a.user_id = g.user_id AND NOT a.shown AND a.fault LIKE 'the user''s id does not fit%')))
          AND NOT (g.withheld AND gateway.is_dropped(s.id, s.version))
        UNION ALL
        SELECT u.id, u.customer_id, u.account, u.livemode, 'unknown', NULL, NULL, '', 'untold' FROM untold u
    )
    SELECT pg_catalog.jsonb_build_object(
        'unowned', (SELECT coalesce(pg_catalog.jsonb_agg(
                pg_catalog.to_jsonb(u) - 'preference' ORDER BY u.preference DESC, u.id), '[]')
            FROM (SELECT * FROM unowned ORDER BY preference DESC, id LIMIT most) u),
        'reasons', (SELECT coalesce(pg_catalog.jsonb_object_agg(r.reason, r.number), '{}')
            FROM (SELECT u.reason, pg_catalog.count(*) AS number FROM unowned u GROUP BY 1) r),
        'findings', (SELECT coalesce(pg_catalog.jsonb_object_agg(f.severity, f.number), '{}')
            FROM (SELECT f.severity, pg_catalog.count(*) AS number FROM gateway.findings f GROUP BY 1) f),
        -- Users that wait for their first turn have no fault yet. In shadow mode that is all of them.
        'not_shown', (SELECT pg_catalog.jsonb_build_object(
                'entitled', pg_catalog.count(*) FILTER (WHERE a.entitles),
                'others', pg_catalog.count(*) FILTER (WHERE NOT a.entitles))
            FROM gateway.user_access a WHERE NOT a.shown AND a.fault IS NOT NULL AND NOT gateway.is_shadow()),
        'waiting', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(w) ORDER BY w.entitles DESC, w.user_id), '[]')
            FROM (SELECT a.user_id, a.subscription_id, a.entitles, a.fault FROM gateway.user_access a
                  WHERE NOT a.shown AND a.fault IS NOT NULL AND NOT gateway.is_shadow()
                  ORDER BY a.entitles DESC, a.user_id LIMIT most) w),
        'policies', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(p) ORDER BY p.relation, p.policy, p.problem), '[]')
            FROM gateway.weak_policies() p),
        'left', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('what', l.what, 'statement', l.statement)
                ORDER BY l.place), '[]')
            FROM gateway.left_to_build() WITH ORDINALITY l (what, statement, place)),
        'orphans', (SELECT pg_catalog.count(*) FROM gateway.subscription_grants g WHERE g.user_id IS NULL))
$$;
