-- The one function through which events reach the state of record: `public.gateway_apply_batch(batch)`.
--
-- It decides nothing about what a row should be; the rows come ready made, each with a version. Per key the greatest
-- version stays, a binding is never re-pointed but by a release, and the public tables are brought up to date in the
-- same transaction. Statements work on the whole batch at once. Batches run one after the other, under an advisory
-- lock that is held for milliseconds; so two of them can neither deadlock nor miss each other's bindings.
--
-- batch = {"events": [...], "bindings": [...], "subscriptions": [...], "customers": [...], "revenue": [...],
--          "links": [...], "findings": [...], "decisions": [...]}
-- An event has its place `n` in the batch, no two have the same `id`; every other row names the `n` of its event. The
-- answer is an array of {"n", "outcome", "rule", "reason"}.

-- Conflicts among the bindings of `fresh` events, decided one event after the other, as if each came in a batch of its
-- own. Only called when there is at least one contradiction, which is rare.
CREATE OR REPLACE FUNCTION gateway.binding_conflicts(batch jsonb, fresh integer[])
RETURNS TABLE (n integer, reason text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    -- What earlier events of this batch have bound: key to {"to", "version"}.
    claims jsonb := '{}';
    event record;
    claim record;
BEGIN
    FOR event IN
        SELECT (e ->> 'n')::integer AS n, (e ->> 'released')::boolean AS released
        FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
        WHERE (e ->> 'n')::integer = ANY (fresh) ORDER BY 1
    LOOP
        reason := NULL;
        IF NOT event.released THEN
            SELECT b ->> 'kind' || ': ' || (b ->> 'from_id') || ' is bound to another, says ' || (b ->> 'evidence')
            INTO reason
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') WITH ORDINALITY AS given (b, place)
            LEFT JOIN gateway.customer_bindings t
                ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
              AND coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'to', t.to_id) <> b ->> 'to_id'
            ORDER BY place LIMIT 1;
        END IF;
        IF reason IS NOT NULL THEN
            n := event.n;
            RETURN NEXT;
            CONTINUE;
        END IF;
        FOR claim IN
            SELECT b ->> 'kind' || ' ' || (b ->> 'from_id') AS key, b ->> 'to_id' AS target, b ->> 'version' AS version,
                coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'version', t.version) AS held
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') b
            LEFT JOIN gateway.customer_bindings t ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
        LOOP
            IF claim.held IS NULL OR claim.version COLLATE "C" > claim.held THEN
                claims := claims || pg_catalog.jsonb_build_object(
                    claim.key, pg_catalog.jsonb_build_object('to', claim.target, 'version', claim.version));
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- Whether any binding of `fresh` events contradicts what is bound or another of them.
CREATE OR REPLACE FUNCTION gateway.bindings_disagree(batch jsonb, fresh integer[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT EXISTS (
            SELECT FROM (
                SELECT b ->> 'kind' AS kind, b ->> 'from_id' AS from_id, pg_catalog.min(b ->> 'to_id' COLLATE "C") AS low,
                       pg_catalog.max(b ->> 'to_id' COLLATE "C") AS high
                FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') b
                WHERE (b ->> 'n')::integer = ANY (fresh) AND (b ->> 'exclusive')::boolean
                GROUP BY 1, 2
            ) given
            LEFT JOIN gateway.customer_bindings t ON t.kind = given.kind AND t.from_id = given.from_id
            WHERE given.low <> given.high OR t.to_id <> given.low
        )
    );
END
$$;

-- The events of which at least one row is newer than what is there and than what events before them in the batch
-- bring; and, as `rows`, the events that have rows at all.
CREATE OR REPLACE FUNCTION gateway.changing_events(batch jsonb, accepted integer[])
RETURNS TABLE (changing integer[], rows integer[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN QUERY
    WITH incoming AS (
        SELECT 1 AS relation, (d ->> 'n')::integer AS n, d ->> 'id' AS key, d ->> 'version' AS version, t.version AS held
        FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') d
        LEFT JOIN gateway.stripe_subscriptions t ON t.id = d ->> 'id'
        UNION ALL
        SELECT 2, (d ->> 'n')::integer, d ->> 'id', d ->> 'version', t.version
        FROM pg_catalog.jsonb_array_elements(batch -> 'customers') d
        LEFT JOIN gateway.stripe_customers t ON t.id = d ->> 'id'
        UNION ALL
        SELECT 3, (d ->> 'n')::integer, d ->> 'kind' || ' ' || (d ->> 'from_id'), d ->> 'version', t.version
        FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d
        LEFT JOIN gateway.customer_bindings t ON t.kind = d ->> 'kind' AND t.from_id = d ->> 'from_id'
        UNION ALL
        SELECT 4, (d ->> 'n')::integer, d ->> 'kind' || ' ' || (d ->> 'key'), d ->> 'version', t.version
        FROM pg_catalog.jsonb_array_elements(batch -> 'revenue') d
        LEFT JOIN gateway.revenue_entries t ON t.kind = d ->> 'kind' AND t.key = d ->> 'key'
        UNION ALL
        SELECT 5, (d ->> 'n')::integer, d ->> 'payment_id', d ->> 'version', t.version
        FROM pg_catalog.jsonb_array_elements(batch -> 'links') d
        LEFT JOIN gateway.payment_links t ON t.payment_id = d ->> 'payment_id'
    ), placed AS (
        SELECT n, version, held,
            pg_catalog.max(version COLLATE "C") OVER (
                PARTITION BY relation, key ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM incoming WHERE n = ANY (accepted)
    )
    SELECT
        coalesce(pg_catalog.array_agg(n) FILTER (
            WHERE version COLLATE "C" > coalesce(held, '') AND version COLLATE "C" > coalesce(before, '')), '{}'),
        coalesce(pg_catalog.array_agg(n), '{}')
    FROM placed;
END
$$;

-- Users whose access the subscriptions and bindings of `accepted` events may touch, as the bindings stand.
CREATE OR REPLACE FUNCTION gateway.touched_users(batch jsonb, accepted integer[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN (
        WITH subscriptions AS (
            SELECT d ->> 'id' AS id, d ->> 'customer_id' AS customer_id
            FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') d WHERE (d ->> 'n')::integer = ANY (accepted)
            UNION
            SELECT d ->> 'from_id', NULL
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d
            WHERE (d ->> 'n')::integer = ANY (accepted) AND d ->> 'kind' <> 'customer_user'
        ), customers AS (
            SELECT customer_id AS id FROM subscriptions WHERE customer_id IS NOT NULL
            UNION
            SELECT t.customer_id FROM subscriptions s JOIN gateway.stripe_subscriptions t ON t.id = s.id
            UNION
            SELECT d ->> 'from_id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d
            WHERE (d ->> 'n')::integer = ANY (accepted) AND d ->> 'kind' = 'customer_user'
        )
        SELECT coalesce(pg_catalog.array_agg(DISTINCT found.user_id), '{}')
        FROM (
            SELECT b.to_id AS user_id FROM customers c
            JOIN gateway.customer_bindings b ON b.kind = 'customer_user' AND b.from_id = c.id
            UNION
            SELECT b.to_id FROM subscriptions s
            JOIN gateway.customer_bindings b ON b.kind = 'subscription_user' AND b.from_id = s.id
        ) found
    );
END
$$;

-- Merges the truth: subscriptions and customers.
CREATE OR REPLACE FUNCTION gateway.merge_truth(batch jsonb, accepted integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    INSERT INTO gateway.stripe_subscriptions AS t
    SELECT DISTINCT ON (r.id) r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.stripe_subscriptions, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ORDER BY r.id, r.version COLLATE "C" DESC
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, source = excluded.source, account = excluded.account,
        livemode = excluded.livemode, customer_id = excluded.customer_id, status = excluded.status,
        projected_status = excluded.projected_status, entitles = excluded.entitles,
        preference = excluded.preference, tier = excluded.tier, price_id = excluded.price_id,
        product_id = excluded.product_id, quantity = excluded.quantity, currency = excluded.currency,
        unit_amount = excluded.unit_amount, "interval" = excluded."interval",
        interval_count = excluded.interval_count, items = excluded.items, mrr_minor = excluded.mrr_minor,
        created = excluded.created, started_at = excluded.started_at,
        current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end,
        will_cancel = excluded.will_cancel, cancel_at_period_end = excluded.cancel_at_period_end,
        cancel_at = excluded.cancel_at, canceled_at = excluded.canceled_at, ended_at = excluded.ended_at,
        trial_start = excluded.trial_start, trial_end = excluded.trial_end,
        pause_behavior = excluded.pause_behavior, pause_resumes_at = excluded.pause_resumes_at,
        latest_invoice_id = excluded.latest_invoice_id, metadata_user_id = excluded.metadata_user_id,
        raw = excluded.raw
    WHERE excluded.version COLLATE "C" > t.version;

    INSERT INTO gateway.stripe_customers AS t
    SELECT DISTINCT ON (r.id) r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'customers') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.stripe_customers, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ORDER BY r.id, r.version COLLATE "C" DESC
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, source = excluded.source, account = excluded.account,
        livemode = excluded.livemode, deleted = excluded.deleted, currency = excluded.currency,
        delinquent = excluded.delinquent, balance_minor = excluded.balance_minor,
        metadata_user_id = excluded.metadata_user_id, raw = excluded.raw
    WHERE excluded.version COLLATE "C" > t.version;

    INSERT INTO gateway.customer_bindings AS t
    SELECT DISTINCT ON (r.kind, r.from_id) r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.customer_bindings, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ORDER BY r.kind, r.from_id, r.version COLLATE "C" DESC
    ON CONFLICT (kind, from_id) DO UPDATE SET
        to_id = excluded.to_id, evidence = excluded.evidence, version = excluded.version
    WHERE excluded.version COLLATE "C" > t.version;
END
$$;

-- Merges the money, and records findings.
CREATE OR REPLACE FUNCTION gateway.merge_money(batch jsonb, accepted integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    INSERT INTO gateway.revenue_entries AS t
    SELECT DISTINCT ON (r.kind, r.key) r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'revenue') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.revenue_entries, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ORDER BY r.kind, r.key, r.version COLLATE "C" DESC
    ON CONFLICT (kind, key) DO UPDATE SET
        version = excluded.version, as_of = excluded.as_of, account = excluded.account,
        livemode = excluded.livemode, amount_minor = excluded.amount_minor, voided_minor = excluded.voided_minor,
        currency = excluded.currency, occurred_at = excluded.occurred_at, payment_id = excluded.payment_id,
        charge_id = excluded.charge_id, invoice_id = excluded.invoice_id,
        subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
        user_id = excluded.user_id, status = excluded.status, match_key = excluded.match_key
    WHERE excluded.version COLLATE "C" > t.version;

    INSERT INTO gateway.payment_links AS t
    SELECT DISTINCT ON (r.payment_id) r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'links') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.payment_links, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ORDER BY r.payment_id, r.version COLLATE "C" DESC
    ON CONFLICT (payment_id) DO UPDATE SET invoice_id = excluded.invoice_id, version = excluded.version
    WHERE excluded.version COLLATE "C" > t.version;

    INSERT INTO gateway.findings
    SELECT r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'findings') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.findings, d) r
    WHERE (d ->> 'n')::integer = ANY (accepted)
    ON CONFLICT (event_id, code, subject) DO NOTHING;
END
$$;

-- Records the `fresh` events with what became of them, and all that rules said about them.
CREATE OR REPLACE FUNCTION gateway.record_events(batch jsonb, fresh integer[], outcomes jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    INSERT INTO gateway.events AS t (
        id, type, account, livemode, created, api_version, object_id, payload, outcome, rule, reason, recorded_at)
    SELECT r.id, r.type, r.account, r.livemode, r.created, r.api_version, r.object_id, r.payload,
           became ->> 'outcome', became ->> 'rule', became ->> 'reason', pg_catalog.now()
    FROM pg_catalog.jsonb_array_elements(batch -> 'events') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.events, d) r
    CROSS JOIN LATERAL (SELECT outcomes -> (d ->> 'n')) AS b (became)
    WHERE (d ->> 'n')::integer = ANY (fresh)
    ON CONFLICT (id) DO UPDATE SET
        outcome = excluded.outcome, rule = excluded.rule, reason = excluded.reason,
        recorded_at = excluded.recorded_at;

    INSERT INTO gateway.guardian_decisions AS t
    SELECT r.*
    FROM pg_catalog.jsonb_array_elements(batch -> 'decisions') d
    CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.guardian_decisions, d) r
    WHERE (d ->> 'n')::integer = ANY (fresh)
    UNION ALL
    SELECT d ->> 'id', became ->> 'rule', 'critical', 'quarantine', became ->> 'reason'
    FROM pg_catalog.jsonb_array_elements(batch -> 'events') d
    CROSS JOIN LATERAL (SELECT outcomes -> (d ->> 'n')) AS b (became)
    WHERE (d ->> 'n')::integer = ANY (fresh) AND became ->> 'rule' = 'binding_conflict'
    ON CONFLICT (event_id, rule) DO UPDATE SET
        severity = excluded.severity, action = excluded.action, reason = excluded.reason;
END
$$;

-- What becomes of each event, by its `n`. `fresh` are the events to record, `accepted` those whose rows to merge.
CREATE OR REPLACE FUNCTION gateway.judge(
    batch jsonb, OUT outcomes jsonb, OUT fresh integer[], OUT accepted integer[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    conflicts jsonb := '{}';
    changing integer[];
    with_rows integer[];
BEGIN
    SELECT coalesce(pg_catalog.array_agg((e ->> 'n')::integer), '{}'),
           coalesce(pg_catalog.array_agg((e ->> 'n')::integer) FILTER (WHERE e ->> 'verdict' = 'apply'), '{}')
    INTO fresh, accepted
    FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
    LEFT JOIN gateway.events k ON k.id = e ->> 'id'
    WHERE k.id IS NULL OR (k.outcome = 'quarantined' AND (e ->> 'released')::boolean);

    IF gateway.bindings_disagree(batch, accepted) THEN
        SELECT coalesce(pg_catalog.jsonb_object_agg(c.n::text, c.reason), '{}') INTO conflicts
        FROM gateway.binding_conflicts(batch, accepted) c;
        accepted := ARRAY(SELECT n FROM pg_catalog.unnest(accepted) n WHERE NOT conflicts ? n::text);
    END IF;
    SELECT c.changing, c.rows INTO changing, with_rows FROM gateway.changing_events(batch, accepted) c;

    SELECT coalesce(pg_catalog.jsonb_object_agg(e ->> 'n', CASE
        WHEN conflicts ? (e ->> 'n') THEN pg_catalog.jsonb_build_object(
            'outcome', 'quarantined', 'rule', 'binding_conflict', 'reason', conflicts ->> (e ->> 'n'))
        WHEN NOT (e ->> 'n')::integer = ANY (fresh) AND k.outcome = 'quarantined' THEN
            pg_catalog.jsonb_build_object('outcome', 'quarantined', 'rule', k.rule, 'reason', k.reason)
        WHEN NOT (e ->> 'n')::integer = ANY (fresh) THEN pg_catalog.jsonb_build_object('outcome', 'duplicate')
        WHEN e ->> 'verdict' = 'quarantine' THEN
            pg_catalog.jsonb_build_object('outcome', 'quarantined', 'rule', e ->> 'rule', 'reason', e ->> 'reason')
        WHEN e ->> 'verdict' = 'ignore' THEN pg_catalog.jsonb_build_object('outcome', 'ignored')
        WHEN (e ->> 'n')::integer = ANY (changing) OR NOT (e ->> 'n')::integer = ANY (with_rows) THEN
            pg_catalog.jsonb_build_object('outcome', 'applied')
        ELSE pg_catalog.jsonb_build_object('outcome', 'stale')
    END), '{}')
    INTO outcomes
    FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
    LEFT JOIN gateway.events k ON k.id = e ->> 'id';
END
$$;

-- Applies a batch. The whole of it is there when the call's transaction commits, and nothing of it otherwise.
CREATE OR REPLACE FUNCTION gateway.apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    outcomes jsonb;
    fresh integer[];
    accepted integer[];
    users text[];
BEGIN
    IF pg_catalog.jsonb_typeof(batch -> 'events') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'not a batch of this version' USING ERRCODE = 'GW001';
    END IF;
    -- What a batch before this one has committed must be seen once the lock is held.
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'batches are applied at the isolation level read committed' USING ERRCODE = 'GW003';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    SELECT j.outcomes, j.fresh, j.accepted INTO outcomes, fresh, accepted FROM gateway.judge(batch) j;
    users := gateway.touched_users(batch, accepted);
    PERFORM gateway.merge_truth(batch, accepted);
    PERFORM gateway.merge_money(batch, accepted);
    PERFORM gateway.record_events(batch, fresh, outcomes);
    PERFORM gateway.project(users || gateway.touched_users(batch, accepted));
    RETURN (
        SELECT coalesce(pg_catalog.jsonb_agg(o.value || pg_catalog.jsonb_build_object('n', o.key::integer)), '[]')
        FROM pg_catalog.jsonb_each(outcomes) o
    );
END
$$;

INSERT INTO gateway.migrations (version, name) VALUES (20260101000200, 'gateway_apply')
ON CONFLICT (version) DO NOTHING;
