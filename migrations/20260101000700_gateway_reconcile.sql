-- What `reconcile` asks: which events are known, what is held about subscriptions, and whose turn it is.

-- Whose turn it is. One row a piece of work; a lease that ran out is anybody's.
CREATE TABLE IF NOT EXISTS gateway.leases (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL,
    -- Moment up to which some holder has done the work.
    covered timestamptz
);
ALTER TABLE gateway.leases ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.leases FROM PUBLIC;

-- Which of these events are recorded.
CREATE OR REPLACE FUNCTION gateway.known_events(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(e.id), '[]')
    FROM pg_catalog.jsonb_array_elements_text(ids) asked JOIN gateway.events e ON e.id = asked
$$;

-- Milliseconds since the Unix epoch.
CREATE OR REPLACE FUNCTION gateway.millis(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT (extract(epoch FROM moment) * 1000)::bigint $$;

-- What is held about these subscriptions. The names are those of `src/ledger/audit.rs`.
CREATE OR REPLACE FUNCTION gateway.subscription_facts(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.id, 'version', s.version, 'user_id', o.user_id, 'values', pg_catalog.jsonb_build_object(
            'account', s.account, 'livemode', s.livemode, 'customer', s.customer_id, 'status', s.status,
            'projected_status', s.projected_status, 'entitles', s.entitles, 'tier', s.tier, 'price', s.price_id,
            'prices', (SELECT coalesce(pg_catalog.jsonb_agg(p.price ORDER BY p.price COLLATE "C"), '[]') FROM (
                SELECT coalesce(i #>> '{price,id}', i #>> '{plan,id}', '-') || ' x '
                    || coalesce(i ->> 'quantity', '-') AS price
                FROM pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(s.raw #> '{items,data}')
                    WHEN 'array' THEN s.raw #> '{items,data}' ELSE '[]' END) i) p),
            'quantity', s.quantity, 'currency', s.currency, 'unit_amount', s.unit_amount, 'interval', s."interval",
            'interval_count', s.interval_count, 'items', s.items, 'mrr_minor', s.mrr_minor,
            'current_period_start', gateway.millis(s.current_period_start),
            'current_period_end', gateway.millis(s.current_period_end),
            'will_cancel', s.will_cancel, 'cancel_at', gateway.millis(s.cancel_at),
            'canceled_at', gateway.millis(s.canceled_at), 'ended_at', gateway.millis(s.ended_at),
            'trial_end', gateway.millis(s.trial_end), 'pause_behavior', s.pause_behavior,
            'pause_resumes_at', gateway.millis(s.pause_resumes_at), 'latest_invoice', s.latest_invoice_id,
            'metadata_user', s.metadata_user_id))), '[]')
    FROM pg_catalog.jsonb_array_elements_text(ids) asked
    JOIN gateway.stripe_subscriptions s ON s.id = asked
    JOIN gateway.subscription_owners o ON o.id = s.id
$$;

-- The subscriptions of one mode whose identifiers come after `after`.
CREATE OR REPLACE FUNCTION gateway.subscriptions_after(after text, live boolean, most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.id, 'account', s.account, 'created_ms', gateway.millis(s.created)) ORDER BY s.id), '[]')
    FROM (SELECT t.id, t.account, t.created FROM gateway.stripe_subscriptions t
          WHERE t.id > after COLLATE "C" AND t.livemode = live ORDER BY t.id LIMIT most) s
$$;

-- Takes or keeps a lease, if nobody else has it; no seconds give it back.
CREATE OR REPLACE FUNCTION gateway.take_lease(wanted text, who text, seconds integer, reached_ms bigint) RETURNS jsonb
LANGUAGE sql SET search_path = ''
AS $$
    WITH taken AS (
        INSERT INTO gateway.leases AS l (name, holder, until, covered)
        VALUES (wanted, who, pg_catalog.now() + seconds * interval '1 second',
                pg_catalog.to_timestamp(reached_ms / 1000.0))
        ON CONFLICT (name) DO UPDATE SET
            holder = CASE WHEN l.holder = excluded.holder OR l.until <= pg_catalog.now()
                          THEN excluded.holder ELSE l.holder END,
            until = CASE WHEN l.holder = excluded.holder OR l.until <= pg_catalog.now()
                         THEN excluded.until ELSE l.until END,
            covered = greatest(l.covered, excluded.covered)
        RETURNING l.holder, l.until, l.covered
    )
    SELECT pg_catalog.jsonb_build_object(
        'mine', t.holder = who AND t.until > pg_catalog.now(), 'until_ms', gateway.millis(t.until),
        'covered_ms', gateway.millis(t.covered))
    FROM taken t
$$;

-- What a REST layer may see, under the rules of the file `gateway_access`.
CREATE OR REPLACE FUNCTION public.gateway_known_events(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.known_events(ids) $$;

CREATE OR REPLACE FUNCTION public.gateway_subscription_facts(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.subscription_facts(ids) $$;

CREATE OR REPLACE FUNCTION public.gateway_subscriptions_after(after text, live boolean, most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.subscriptions_after(after, live, most) $$;

CREATE OR REPLACE FUNCTION public.gateway_take_lease(wanted text, who text, seconds integer, reached_ms bigint)
RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.take_lease(wanted, who, seconds, reached_ms) $$;

DO $$
DECLARE
    entry text;
    role text;
BEGIN
    FOREACH entry IN ARRAY ARRAY[
        'public.gateway_known_events(jsonb)', 'public.gateway_subscription_facts(jsonb)',
        'public.gateway_subscriptions_after(text, boolean, integer)',
        'public.gateway_take_lease(text, text, integer, bigint)'
    ] LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', entry);
        FOREACH role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF pg_catalog.to_regrole(role) IS NOT NULL THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I', entry, role);
            END IF;
        END LOOP;
        IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO service_role', entry);
        END IF;
    END LOOP;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;
END
$$;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260101000700, 'gateway_reconcile')
ON CONFLICT (version) DO NOTHING;
