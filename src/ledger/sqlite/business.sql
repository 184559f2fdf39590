-- Mirrors `gateway.business`.
WITH bounds AS (
    SELECT date(:now / 1000, 'unixepoch') AS today, date(:now / 1000, 'unixepoch', '-' || :days || ' days') AS first
), moved AS (
    SELECT livemode, account, currency, date(coalesce(started_at, created) / 1000, 'unixepoch') AS day, 1 AS began
    FROM stripe_subscriptions
    WHERE coalesce(started_at, created) IS NOT NULL AND status NOT IN ('incomplete', 'incomplete_expired')
    UNION ALL
    SELECT livemode, account, currency, date(ended_at / 1000, 'unixepoch'), 0
    FROM stripe_subscriptions WHERE ended_at IS NOT NULL AND status NOT IN ('incomplete', 'incomplete_expired')
), idle AS (
    SELECT s.livemode, s.account, s.currency,
        CASE WHEN s.pause_resumes_at <= unixepoch() * 1000 THEN coalesce(s.resumed_mrr_minor, s.mrr_minor) ELSE s.mrr_minor END AS mrr_minor,
        CASE WHEN g.user_id IS NULL AND json_extract(s.raw, '$.erased') THEN 'erased'
            WHEN g.withheld THEN 'withheld' WHEN g.claimed THEN 'contested' ELSE 'unnamed' END AS reason
    FROM stripe_subscriptions s JOIN subscription_grants g ON g.id = s.id
    WHERE s.entitles AND (g.withheld OR g.entitles AND g.user_id IS NULL) AND NOT (g.withheld AND IS_DROPPED)
)
SELECT json_object(
    'day', (SELECT today FROM bounds),
    'recurring', (SELECT json_group_array(json_object('livemode', json(iif(livemode, 'true', 'false')), 'account', account,
            'tier', tier, 'currency', currency, 'subscriptions', subscriptions, 'mrr_minor', mrr_minor))
        FROM (SELECT * FROM recurring_revenue ORDER BY livemode DESC, account, currency, tier)),
    'history', (SELECT json_group_array(json_object('day', day, 'livemode', json(iif(livemode, 'true', 'false')),
            'account', nullif(account, ''), 'tier', nullif(tier, ''), 'currency', nullif(currency, ''),
            'subscriptions', subscriptions, 'mrr_minor', mrr_minor))
        FROM (SELECT * FROM recurring_history WHERE day > (SELECT first FROM bounds) ORDER BY day, livemode DESC, account, currency, tier)),
    'daily', (SELECT json_group_array(json_object('account', account, 'livemode', json(iif(livemode, 'true', 'false')), 'day', day,
            'currency', currency, 'gross_minor', gross_minor, 'returned_minor', returned_minor, 'net_minor', net_minor,
            'outside_minor', outside_minor))
        FROM (SELECT * FROM daily_revenue WHERE day > (SELECT first FROM bounds) ORDER BY day, livemode DESC, account, currency)),
    'moved', (SELECT json_group_array(json_object('day', day, 'livemode', json(iif(livemode, 'true', 'false')), 'account', account,
            'currency', currency, 'began', began, 'ended', ended))
        FROM (SELECT livemode, account, currency, day, sum(began) AS began, sum(1 - began) AS ended FROM moved
              WHERE day > (SELECT first FROM bounds) GROUP BY 1, 2, 3, 4 ORDER BY day, livemode DESC, account, currency)),
    'idle', (SELECT json_group_array(json_object('livemode', json(iif(livemode, 'true', 'false')), 'account', account,
            'currency', currency, 'reason', reason, 'subscriptions', subscriptions, 'mrr_minor', mrr_minor))
        FROM (SELECT livemode, account, currency, reason, count(*) AS subscriptions, sum(mrr_minor) AS mrr_minor FROM idle
              GROUP BY 1, 2, 3, 4 ORDER BY livemode DESC, account, currency, reason)),
    'unmapped', (SELECT json_group_array(json_object('livemode', json(iif(livemode, 'true', 'false')), 'account', account,
            'currency', currency, 'price', price, 'subscriptions', subscriptions, 'mrr_minor', mrr_minor, 'prices', prices))
        FROM (SELECT *, count(*) OVER (PARTITION BY livemode, account, currency) AS prices,
                row_number() OVER (PARTITION BY livemode, account, currency ORDER BY subscriptions DESC, price) AS place
              FROM (SELECT s.livemode, s.account, s.currency, s.price_id AS price, count(*) AS subscriptions,
                      sum(CASE WHEN s.pause_resumes_at <= unixepoch() * 1000 THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
                          ELSE s.mrr_minor END) AS mrr_minor
                    FROM stripe_subscriptions s JOIN subscription_grants g ON g.id = s.id WHERE g.entitles AND g.tier IS NULL
                    GROUP BY 1, 2, 3, 4)
              ORDER BY livemode DESC, account, currency, place)
        WHERE place <= 50),
    'orphans', (SELECT count(*) FROM subscription_grants WHERE user_id IS NULL))
