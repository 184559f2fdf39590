-- Recurring revenue now and on each of the last days, the money of these days, what began and ended, what gives no user access,
-- and prices that no tier is mapped to. Modes, accounts and currencies are never added up. A subscription whose first payment never
-- succeeded has not begun. Lines come in the same order each time.
CREATE OR REPLACE FUNCTION gateway.business(days integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    WITH today AS (SELECT (pg_catalog.now() AT TIME ZONE 'UTC')::date AS day),
    moved AS (
        SELECT s.livemode, s.account, s.currency, m.day, m.began, s.id
        FROM gateway.stripe_subscriptions s CROSS JOIN LATERAL (VALUES
            ((coalesce(s.started_at, s.created) AT TIME ZONE 'UTC')::date, true),
            ((s.ended_at AT TIME ZONE 'UTC')::date, false)) AS m (day, began)
        WHERE m.day > (SELECT t.day FROM today t) - days AND s.status NOT IN ('incomplete', 'incomplete_expired')
    ),
    idle AS (
        SELECT s.livemode, s.account, s.currency,
            CASE WHEN s.pause_resumes_at <= pg_catalog.now() THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
                ELSE s.mrr_minor END AS mrr_minor,
            CASE WHEN g.user_id IS NULL AND s.raw ? 'erased' THEN 'erased'
                WHEN g.withheld THEN 'withheld' WHEN g.user_id IS NOT NULL THEN 'unfit' WHEN g.claimed THEN 'contested' ELSE 'unnamed' END AS reason
        FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id
        WHERE s.entitles AND (g.withheld OR g.entitles AND (g.user_id IS NULL OR EXISTS (
            SELECT FROM gateway.user_access a
            WHERE a.user_id = g.user_id AND NOT a.shown AND a.fault LIKE 'the user''s id does not fit%')))
          AND NOT (g.withheld AND gateway.is_dropped(s.id, s.version))
    )
    SELECT pg_catalog.jsonb_build_object(
        'day', (SELECT t.day FROM today t),
        'recurring', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(r)
                ORDER BY r.livemode DESC, r.account COLLATE "C" NULLS FIRST, r.currency COLLATE "C" NULLS FIRST, r.tier COLLATE "C" NULLS FIRST), '[]')
            FROM gateway.recurring_revenue r),
        'history', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'day', h.day, 'livemode', h.livemode, 'account', nullif(h.account, ''), 'tier', nullif(h.tier, ''),
                'currency', nullif(h.currency, ''), 'subscriptions', h.subscriptions, 'mrr_minor', h.mrr_minor)
                ORDER BY h.day, h.livemode DESC, h.account, h.currency, h.tier), '[]')
            FROM gateway.recurring_history h WHERE h.day > (SELECT t.day FROM today t) - days),
        'daily', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d)
                ORDER BY d.day, d.livemode DESC, d.account COLLATE "C" NULLS FIRST, d.currency COLLATE "C"), '[]')
            FROM gateway.daily_revenue d WHERE d.day > (SELECT t.day FROM today t) - days),
        'moved', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m)
                ORDER BY m.day, m.livemode DESC, m.account COLLATE "C" NULLS FIRST, m.currency COLLATE "C" NULLS FIRST), '[]') FROM (
            SELECT x.livemode, x.account, x.currency, x.day, pg_catalog.count(*) FILTER (WHERE x.began) AS began,
                pg_catalog.count(*) FILTER (WHERE NOT x.began) AS ended
            FROM moved x GROUP BY 1, 2, 3, 4) m),
        'idle', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(i)
                ORDER BY i.livemode DESC, i.account COLLATE "C" NULLS FIRST, i.currency COLLATE "C" NULLS FIRST, i.reason COLLATE "C"), '[]') FROM (
            SELECT x.livemode, x.account, x.currency, x.reason, pg_catalog.count(*) AS subscriptions,
                pg_catalog.sum(x.mrr_minor)::bigint AS mrr_minor
            FROM idle x GROUP BY 1, 2, 3, 4) i),
        'unmapped', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(u) - 'place'
                ORDER BY u.livemode DESC, u.account COLLATE "C" NULLS FIRST, u.currency COLLATE "C" NULLS FIRST, u.place), '[]') FROM (
            SELECT s.livemode, s.account, s.currency, s.price_id AS price, pg_catalog.count(*) AS subscriptions,
                pg_catalog.sum(CASE WHEN s.pause_resumes_at <= pg_catalog.now() THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
                    ELSE s.mrr_minor END)::bigint AS mrr_minor,
                pg_catalog.count(*) OVER w AS prices,
                pg_catalog.row_number() OVER (w ORDER BY pg_catalog.count(*) DESC, s.price_id COLLATE "C" NULLS FIRST) AS place
            FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants g ON g.id = s.id
            WHERE g.entitles AND g.tier IS NULL GROUP BY 1, 2, 3, 4
            WINDOW w AS (PARTITION BY s.livemode, s.account, s.currency)) u
            WHERE u.place <= 50),
        'orphans', (SELECT pg_catalog.count(*) FROM gateway.subscription_grants g WHERE g.user_id IS NULL))
$$;
