-- Views for people and for `colony-gateway revenue`: who has what, what recurs, and the money.

-- The user and the tier of each subscription, as the bindings say.
CREATE OR REPLACE VIEW gateway.subscription_owners AS
SELECT s.id,
    coalesce(
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_user' AND b.from_id = s.id),
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'customer_user' AND b.from_id = s.customer_id)
    ) AS user_id,
    coalesce(
        s.tier,
        (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_tier' AND b.from_id = s.id)
    ) AS tier
FROM gateway.stripe_subscriptions s;

-- Subscriptions that entitle their user now.
CREATE OR REPLACE VIEW gateway.active_subscriptions AS
SELECT s.id, s.livemode, o.user_id, s.customer_id, s.status, s.projected_status, o.tier, s.currency, s.mrr_minor,
    s.current_period_start, s.current_period_end, s.will_cancel, s.cancel_at
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_owners o ON o.id = s.id
WHERE s.entitles;

-- Monthly recurring revenue by mode, tier and currency, in minor units.
CREATE OR REPLACE VIEW gateway.recurring_revenue AS
SELECT s.livemode, o.tier, s.currency,
    pg_catalog.count(*) FILTER (WHERE s.entitles) AS subscriptions,
    pg_catalog.sum(s.mrr_minor)::bigint AS mrr_minor
FROM gateway.stripe_subscriptions s JOIN gateway.subscription_owners o ON o.id = s.id
WHERE s.entitles OR s.mrr_minor <> 0
GROUP BY 1, 2, 3;

-- Money that counts, each row with the amount that it counts with:
-- 1. every invoice;
-- 2. a payment, unless a link names an invoice that is there, or, for payments without any link, an invoice that no
--    link names has the same customer, currency and amount within an hour;
-- 3. every refund and dispute, with its sign;
-- 4. of a total of refunds what the single refunds leave.
CREATE OR REPLACE VIEW gateway.counted_revenue AS
SELECT r.kind, r.key, r.livemode, r.currency, r.occurred_at, r.amount_minor
FROM gateway.revenue_entries r WHERE r.kind IN ('invoice', 'refund', 'dispute')
UNION ALL
SELECT r.kind, r.key, r.livemode, r.currency, r.occurred_at, r.amount_minor
FROM gateway.revenue_entries r
WHERE r.kind = 'payment'
  AND NOT EXISTS (
    SELECT FROM gateway.payment_links l JOIN gateway.revenue_entries i ON i.kind = 'invoice' AND i.key = l.invoice_id
    WHERE l.payment_id IN (r.key, r.charge_id))
  AND (EXISTS (SELECT FROM gateway.payment_links l WHERE l.payment_id IN (r.key, r.charge_id))
    OR NOT EXISTS (
      SELECT FROM gateway.revenue_entries i
      WHERE i.kind = 'invoice' AND i.match_key = r.match_key
        AND i.occurred_at BETWEEN r.occurred_at - interval '1 hour' AND r.occurred_at + interval '1 hour'
        AND NOT EXISTS (SELECT FROM gateway.payment_links l WHERE l.invoice_id = i.key)))
UNION ALL
SELECT t.kind, t.key, t.livemode, t.currency, t.occurred_at,
    least(0, t.amount_minor
        + coalesce((SELECT pg_catalog.sum(s.voided_minor) FROM gateway.revenue_entries s
                    WHERE s.kind = 'refund' AND s.payment_id = t.payment_id AND s.as_of >= t.as_of), 0)
        - coalesce((SELECT pg_catalog.sum(s.amount_minor) FROM gateway.revenue_entries s
                    WHERE s.kind = 'refund' AND s.payment_id = t.payment_id), 0))::bigint
FROM gateway.revenue_entries t WHERE t.kind = 'refund_total';

-- Money by mode, day (UTC) and currency, in minor units; what went out is negative.
CREATE OR REPLACE VIEW gateway.daily_revenue AS
SELECT c.livemode, (c.occurred_at AT TIME ZONE 'UTC')::date AS day, c.currency,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind IN ('invoice', 'payment')), 0)::bigint AS gross_minor,
    coalesce(pg_catalog.sum(c.amount_minor) FILTER (WHERE c.kind NOT IN ('invoice', 'payment')), 0)::bigint
        AS returned_minor,
    pg_catalog.sum(c.amount_minor)::bigint AS net_minor
FROM gateway.counted_revenue c
GROUP BY 1, 2, 3;

-- All of the above as one document, for `public.gateway_summary`.
CREATE OR REPLACE FUNCTION gateway.summary(days integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_build_object(
        'counts', (SELECT pg_catalog.jsonb_build_object(
            'events', (SELECT pg_catalog.count(*) FROM gateway.events),
            'quarantined', (SELECT pg_catalog.count(*) FROM gateway.events e WHERE e.outcome = 'quarantined'),
            'subscriptions', (SELECT pg_catalog.count(*) FROM gateway.stripe_subscriptions),
            'orphans', (SELECT pg_catalog.count(*) FROM gateway.subscription_owners o WHERE o.user_id IS NULL),
            'customers', (SELECT pg_catalog.count(*) FROM gateway.stripe_customers),
            'bindings', (SELECT pg_catalog.count(*) FROM gateway.customer_bindings),
            'revenue_entries', (SELECT pg_catalog.count(*) FROM gateway.revenue_entries),
            'findings', (SELECT pg_catalog.count(*) FROM gateway.findings),
            'decisions', (SELECT pg_catalog.count(*) FROM gateway.guardian_decisions),
            'not_shown', (SELECT pg_catalog.count(*) FROM gateway.user_access a WHERE NOT a.shown))),
        'recurring', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(r)
                ORDER BY r.livemode DESC, r.currency COLLATE "C" NULLS FIRST, r.tier COLLATE "C" NULLS FIRST), '[]')
            FROM gateway.recurring_revenue r),
        'daily', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d)
                ORDER BY d.day DESC, d.livemode DESC, d.currency COLLATE "C"), '[]')
            FROM gateway.daily_revenue d
            WHERE d.day IN (SELECT DISTINCT x.day FROM gateway.daily_revenue x ORDER BY 1 DESC LIMIT days)))
$$;

-- Subscriptions with their users, those of greatest preference first, for `public.gateway_subscriptions`.
CREATE OR REPLACE FUNCTION gateway.subscription_lines(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) - 'preference' ORDER BY l.preference DESC, l.id), '[]')
    FROM (
        SELECT s.id, s.livemode, o.user_id, s.customer_id, s.status, s.projected_status, s.entitles, o.tier,
            s.currency, s.mrr_minor, s.source, s.preference, s.will_cancel, s.account,
            (extract(epoch FROM s.current_period_end) * 1000)::bigint AS current_period_end_ms
        FROM gateway.stripe_subscriptions s JOIN gateway.subscription_owners o ON o.id = s.id
        ORDER BY s.preference DESC, s.id LIMIT most
    ) l
$$;

INSERT INTO gateway.migrations (version, name) VALUES (20260101000400, 'gateway_reports')
ON CONFLICT (version) DO NOTHING;
