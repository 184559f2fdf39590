-- Batches at a fraction of the work: the same rules as before, read from the batch once per table instead of row by row,
-- and rows of the database looked up by key whatever the planner believes about the size of a table.
--
-- What made batches slow, so that it does not come back:
--   a function that makes a record per row of a batch (`jsonb_populate_record` beside `jsonb_array_elements`) sets up a
--   scan per row; `jsonb_to_recordset` sets up one;
--   the planner takes a table that was never analysed, or the rows of a partial index, for a handful and reads all of
--   them for every batch. Subqueries that name all columns of a key and cannot be pulled up (scalar ones, and those with
--   OFFSET 0) leave it no other way than the index;
--   functions in SQL that set a variable cannot be inlined and are planned at each call; those in PL/pgSQL once;
--   pglz, PostgreSQL's own compression, takes several times as long as LZ4.
-- The functions have names of their own, so that the files before this one can run again without harm.

-- Objects that were received are compressed with LZ4 from now on, where the server has it. What is stored stays as it is.
DO $$
DECLARE
    place record;
BEGIN
    FOR place IN
        SELECT * FROM (VALUES ('events', 'payload'), ('stripe_subscriptions', 'raw'), ('stripe_customers', 'raw')) AS p (
            relation, attribute)
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER TABLE gateway.%I ALTER COLUMN %I SET COMPRESSION lz4', place.relation, place.attribute);
    END LOOP;
EXCEPTION
    -- Built without it, or older than it.
    WHEN feature_not_supported OR syntax_error OR invalid_parameter_value THEN NULL;
END
$$;

-- The condition lets the index be used: batches run with sequential scans priced so high that one, of a single row even,
-- would be compiled at every call.
CREATE OR REPLACE FUNCTION gateway.is_shadow() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN coalesce((SELECT o.shadow FROM gateway.operation o WHERE o.only_row), false);
END
$$;

-- Columns of a table that can be written, with their types; empty when there is no such table.
CREATE OR REPLACE FUNCTION gateway.columns_of(relation text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, pg_catalog.format_type(a.atttypid, NULL)), '{}')
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = pg_catalog.to_regclass(relation) AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = ''
    );
END
$$;

-- The subscriptions of users: those bound to the user, and those of the user's customers that are bound to nobody.
CREATE OR REPLACE FUNCTION gateway.subscriptions_of(users text[]) RETURNS TABLE (user_id text, id text)
LANGUAGE sql STABLE
AS $$
    SELECT u.id, b.from_id
    FROM pg_catalog.unnest(users) AS u (id)
    CROSS JOIN LATERAL (
        SELECT b.from_id FROM gateway.customer_bindings b
        WHERE b.to_id = u.id AND b.kind = 'subscription_user' OFFSET 0) b
    UNION
    SELECT u.id, s.id
    FROM pg_catalog.unnest(users) AS u (id)
    CROSS JOIN LATERAL (
        SELECT b.from_id FROM gateway.customer_bindings b
        WHERE b.to_id = u.id AND b.kind = 'customer_user' OFFSET 0) b
    CROSS JOIN LATERAL (
        SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = b.from_id OFFSET 0) s
    WHERE (SELECT o.to_id FROM gateway.customer_bindings o
           WHERE o.kind = 'subscription_user' AND o.from_id = s.id) IS NULL
$$;

-- The best subscription of each user, in the words of the public tables. `others` are subscriptions that are not the
-- platform's: rows of `public.subscriptions` already hold them for a creator.
CREATE OR REPLACE FUNCTION gateway.best_of_users(users text[], others text[])
RETURNS TABLE (
    user_id text, subscription_id text, customer_id text, status text, tier text, entitles boolean,
    current_period_start timestamptz, current_period_end timestamptz, canceled_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT DISTINCT ON (o.user_id)
        o.user_id, s.id, s.customer_id, s.projected_status,
        CASE WHEN s.entitles THEN coalesce(
            s.tier,
            (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_tier' AND b.from_id = s.id),
            'premium') ELSE 'free' END,
        s.entitles, s.current_period_start, s.current_period_end, s.canceled_at
    FROM gateway.subscriptions_of(users) o
    CROSS JOIN LATERAL (SELECT t.* FROM gateway.stripe_subscriptions t WHERE t.id = o.id OFFSET 0) s
    WHERE s.projected_status IS NOT NULL AND NOT s.id = ANY (others)
    ORDER BY o.user_id, s.preference COLLATE "C" DESC
$$;

-- Whether any binding of events that are not `refused` contradicts what is bound or another of them.
DROP FUNCTION IF EXISTS gateway.bindings_disagree(jsonb, integer[]);
CREATE OR REPLACE FUNCTION gateway.claims_disagree(batch jsonb, refused integer[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM (
            SELECT b.kind, b.from_id, pg_catalog.min(b.to_id) AS low, pg_catalog.max(b.to_id) AS high
            FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS b (
                n integer, exclusive boolean, kind text COLLATE "C", from_id text COLLATE "C", to_id text COLLATE "C")
            WHERE b.exclusive AND b.n <> ALL (refused)
            GROUP BY 1, 2
        ) given
        WHERE given.low <> given.high OR given.low <> (
            SELECT t.to_id FROM gateway.customer_bindings t WHERE t.kind = given.kind AND t.from_id = given.from_id));
END
$$;

-- The events that are not `refused` and of which at least one row is newer than what is there and than what events
-- before them in the batch bring; and, as `rows`, the events that have rows at all.
DROP FUNCTION IF EXISTS gateway.changing_events(jsonb, integer[]);
CREATE OR REPLACE FUNCTION gateway.events_that_change(
    batch jsonb, refused integer[], OUT changing integer[], OUT rows integer[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    WITH incoming AS (
        SELECT 1 AS relation, d.n, '' AS kind, d.id AS key, d.version,
               (SELECT t.version FROM gateway.stripe_subscriptions t WHERE t.id = d.id) AS held
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 2, d.n, '', d.id, d.version, (SELECT t.version FROM gateway.stripe_customers t WHERE t.id = d.id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 3, d.n, d.kind, d.from_id, d.version,
               (SELECT t.version FROM gateway.customer_bindings t WHERE t.kind = d.kind AND t.from_id = d.from_id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
            n integer, kind text COLLATE "C", from_id text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 4, d.n, d.kind, d.key, d.version,
               (SELECT t.version FROM gateway.revenue_entries t WHERE t.kind = d.kind AND t.key = d.key)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C")
        UNION ALL
        SELECT 5, d.n, '', d.payment_id, d.version,
               (SELECT t.version FROM gateway.payment_links t WHERE t.payment_id = d.payment_id)
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", version text COLLATE "C")
    ), placed AS (
        SELECT i.n, i.version, i.held,
            pg_catalog.max(i.version) OVER (
                PARTITION BY i.relation, i.kind, i.key ORDER BY i.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
                AS before
        FROM incoming i WHERE i.n <> ALL (refused)
    )
    SELECT
        coalesce(pg_catalog.array_agg(DISTINCT p.n) FILTER (
            WHERE p.version > coalesce(p.held, '') AND p.version > coalesce(p.before, '')), '{}'),
        coalesce(pg_catalog.array_agg(DISTINCT p.n), '{}')
    INTO changing, rows
    FROM placed p;
END
$$;

-- What becomes of each event, by its `n`. The rows of `refused` events are not merged; `known` events are not recorded.
DROP FUNCTION IF EXISTS gateway.judge(jsonb);
CREATE OR REPLACE FUNCTION gateway.decide(
    batch jsonb, OUT outcomes jsonb, OUT known integer[], OUT refused integer[], OUT conflicts jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    accepted integer[];
    changing integer[];
    with_rows integer[];
    -- Replayed events that were applied before.
    again integer[];
    -- What is recorded of events that stay in quarantine.
    held jsonb;
BEGIN
    conflicts := '{}';
    SELECT coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE NOT j.is_open), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.is_again), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.is_accepted), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE NOT j.is_accepted), '{}'),
           coalesce(pg_catalog.jsonb_object_agg(j.n, pg_catalog.jsonb_build_object(
                'n', j.n, 'outcome', 'quarantined', 'rule', j.rule, 'reason', j.reason))
                FILTER (WHERE NOT j.is_open AND j.outcome = 'quarantined'), '{}')
    INTO known, again, accepted, refused, held
    FROM (
        SELECT i.n, i.outcome, i.rule, i.reason, i.is_open, i.is_again,
               i.applies AND (i.is_open OR i.is_again) AS is_accepted
        FROM (
            SELECT e.n, k.outcome, k.rule, k.reason, e.verdict = 'apply' AS applies,
                   k.id IS NULL OR (k.outcome = 'quarantined'
                       AND (coalesce(e.released, false) OR coalesce(e.replayed, false))) AS is_open,
                   k.id IS NOT NULL AND k.outcome <> 'quarantined' AND coalesce(e.replayed, false)
                       AND e.verdict = 'apply' AS is_again
            FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (
                n integer, id text COLLATE "C", verdict text, released boolean, replayed boolean)
            LEFT JOIN LATERAL (
                SELECT x.id, x.outcome, x.rule, x.reason FROM gateway.events x WHERE x.id = e.id OFFSET 0) k ON true
        ) i
    ) j;

    IF gateway.claims_disagree(batch, refused) THEN
        SELECT coalesce(pg_catalog.jsonb_object_agg(c.n::text, c.reason), '{}') INTO conflicts
        FROM gateway.binding_conflicts(batch, accepted, again) c;
        refused := refused || ARRAY(SELECT key::integer FROM pg_catalog.jsonb_object_keys(conflicts) key);
    END IF;
    SELECT c.changing, c.rows INTO changing, with_rows FROM gateway.events_that_change(batch, refused) c;

    SELECT coalesce(pg_catalog.jsonb_object_agg(e.n, CASE
        WHEN conflicts ? e.n::text THEN pg_catalog.jsonb_build_object(
            'n', e.n, 'outcome', 'quarantined', 'rule', 'binding_conflict', 'reason', conflicts ->> e.n::text)
        WHEN e.n = ANY (again) AND e.n = ANY (changing) THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'applied')
        WHEN e.n = ANY (known) THEN
            coalesce(held -> e.n::text, pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'duplicate'))
        WHEN e.verdict = 'quarantine' THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'quarantined', 'rule', e.rule, 'reason', e.reason)
        WHEN e.verdict = 'ignore' THEN pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'ignored')
        WHEN e.n = ANY (changing) OR NOT e.n = ANY (with_rows) THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'applied')
        ELSE pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'stale')
    END), '{}')
    INTO outcomes
    FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (n integer, verdict text, rule text, reason text);

    -- Of what was applied before, only a new outcome is recorded.
    IF again <> '{}' THEN
        known := ARRAY(
            SELECT n FROM pg_catalog.unnest(known) n
            WHERE NOT (n = ANY (again) AND (n = ANY (changing) OR conflicts ? n::text)));
    END IF;
END
$$;

-- Subscriptions and customers whose users the rows of events that are not `refused` may touch. The customer of a
-- subscription is that of the batch or the one stored, so that merging adds none.
CREATE OR REPLACE FUNCTION gateway.touched(
    batch jsonb, refused integer[], OUT subscriptions text[], OUT customers text[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    WITH given AS MATERIALIZED (
        SELECT d.id, d.customer_id
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (n integer, id text, customer_id text)
        WHERE d.n <> ALL (refused)
    ), bound AS MATERIALIZED (
        SELECT DISTINCT d.kind = 'customer_user' AS is_customer, d.from_id
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (n integer, kind text, from_id text)
        WHERE d.n <> ALL (refused)
    ), subscription AS MATERIALIZED (
        SELECT g.id FROM given g UNION SELECT b.from_id FROM bound b WHERE NOT b.is_customer
    ), customer AS (
        SELECT g.customer_id AS id FROM given g
        UNION
        SELECT b.from_id FROM bound b WHERE b.is_customer
        UNION
        SELECT (SELECT t.customer_id FROM gateway.stripe_subscriptions t WHERE t.id = s.id) FROM subscription s
    )
    SELECT ARRAY(SELECT s.id FROM subscription s), ARRAY(SELECT c.id FROM customer c WHERE c.id IS NOT NULL)
    INTO subscriptions, customers;
END
$$;

-- The users to whom these are bound now.
DROP FUNCTION IF EXISTS gateway.touched_users(jsonb, integer[]);
CREATE OR REPLACE FUNCTION gateway.users_of(subscriptions text[], customers text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN ARRAY(
        SELECT (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'customer_user' AND b.from_id = c)
        FROM pg_catalog.unnest(customers) c
        UNION
        SELECT (SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_user' AND b.from_id = s)
        FROM pg_catalog.unnest(subscriptions) s
    );
END
$$;

-- Merges the truth: subscriptions and customers. A statement costs its start also when there is nothing for it to do.
DROP FUNCTION IF EXISTS gateway.merge_truth(jsonb, integer[]);
CREATE OR REPLACE FUNCTION gateway.put_truth(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    IF batch -> 'subscriptions' <> '[]' THEN
        INSERT INTO gateway.stripe_subscriptions AS t (
            id, version, source, account, livemode, customer_id, status, projected_status, entitles, preference, tier,
            price_id, product_id, quantity, currency, unit_amount, "interval", interval_count, items, mrr_minor, created,
            started_at, current_period_start, current_period_end, will_cancel, cancel_at_period_end, cancel_at, canceled_at,
            ended_at, trial_start, trial_end, pause_behavior, pause_resumes_at, latest_invoice_id, metadata_user_id, raw)
        SELECT DISTINCT ON (d.id)
            d.id, d.version, d.source, d.account, d.livemode, d.customer_id, d.status, d.projected_status, d.entitles,
            d.preference, d.tier, d.price_id, d.product_id, d.quantity, d.currency, d.unit_amount, d."interval",
            d.interval_count, d.items, d.mrr_minor, d.created, d.started_at, d.current_period_start, d.current_period_end,
            d.will_cancel, d.cancel_at_period_end, d.cancel_at, d.canceled_at, d.ended_at, d.trial_start, d.trial_end,
            d.pause_behavior, d.pause_resumes_at, d.latest_invoice_id, d.metadata_user_id, d.raw
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C", source text, account text, livemode boolean,
            customer_id text, status text, projected_status text, entitles boolean, preference text, tier text,
            price_id text, product_id text, quantity bigint, currency text, unit_amount bigint, "interval" text,
            interval_count bigint, items bigint, mrr_minor bigint, created timestamptz, started_at timestamptz,
            current_period_start timestamptz, current_period_end timestamptz, will_cancel boolean,
            cancel_at_period_end boolean, cancel_at timestamptz, canceled_at timestamptz, ended_at timestamptz,
            trial_start timestamptz, trial_end timestamptz, pause_behavior text, pause_resumes_at timestamptz,
            latest_invoice_id text, metadata_user_id text, raw jsonb)
        WHERE d.n <> ALL (refused)
        ORDER BY d.id, d.version DESC
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
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'customers' <> '[]' THEN
        INSERT INTO gateway.stripe_customers AS t (
            id, version, source, account, livemode, deleted, currency, delinquent, balance_minor, metadata_user_id, raw)
        SELECT DISTINCT ON (d.id)
            d.id, d.version, d.source, d.account, d.livemode, d.deleted, d.currency, d.delinquent, d.balance_minor,
            d.metadata_user_id, d.raw
        FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C", source text, account text, livemode boolean,
            deleted boolean, currency text, delinquent boolean, balance_minor bigint, metadata_user_id text, raw jsonb)
        WHERE d.n <> ALL (refused)
        ORDER BY d.id, d.version DESC
        ON CONFLICT (id) DO UPDATE SET
            version = excluded.version, source = excluded.source, account = excluded.account,
            livemode = excluded.livemode, deleted = excluded.deleted, currency = excluded.currency,
            delinquent = excluded.delinquent, balance_minor = excluded.balance_minor,
            metadata_user_id = excluded.metadata_user_id, raw = excluded.raw
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'bindings' <> '[]' THEN
        INSERT INTO gateway.customer_bindings AS t (kind, from_id, to_id, evidence, version)
        SELECT DISTINCT ON (d.kind, d.from_id) d.kind, d.from_id, d.to_id, d.evidence, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
            n integer, kind text COLLATE "C", from_id text COLLATE "C", to_id text, evidence text, version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.kind, d.from_id, d.version DESC
        ON CONFLICT (kind, from_id) DO UPDATE SET
            to_id = excluded.to_id, evidence = excluded.evidence, version = excluded.version
        WHERE excluded.version > t.version;
    END IF;
END
$$;

-- Merges the money, and records findings.
DROP FUNCTION IF EXISTS gateway.merge_money(jsonb, integer[]);
CREATE OR REPLACE FUNCTION gateway.put_money(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    IF batch -> 'revenue' <> '[]' THEN
        INSERT INTO gateway.revenue_entries AS t (
            kind, key, version, as_of, account, livemode, amount_minor, voided_minor, currency, occurred_at, payment_id,
            charge_id, invoice_id, subscription_id, customer_id, user_id, status, match_key)
        SELECT DISTINCT ON (d.kind, d.key)
            d.kind, d.key, d.version, d.as_of, d.account, d.livemode, d.amount_minor, d.voided_minor, d.currency,
            d.occurred_at, d.payment_id, d.charge_id, d.invoice_id, d.subscription_id, d.customer_id, d.user_id, d.status,
            d.match_key
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C", as_of timestamptz,
            account text, livemode boolean, amount_minor bigint, voided_minor bigint, currency text,
            occurred_at timestamptz, payment_id text, charge_id text, invoice_id text, subscription_id text,
            customer_id text, user_id text, status text, match_key text)
        WHERE d.n <> ALL (refused)
        ORDER BY d.kind, d.key, d.version DESC
        ON CONFLICT (kind, key) DO UPDATE SET
            version = excluded.version, as_of = excluded.as_of, account = excluded.account,
            livemode = excluded.livemode, amount_minor = excluded.amount_minor, voided_minor = excluded.voided_minor,
            currency = excluded.currency, occurred_at = excluded.occurred_at, payment_id = excluded.payment_id,
            charge_id = excluded.charge_id, invoice_id = excluded.invoice_id,
            subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
            user_id = excluded.user_id, status = excluded.status, match_key = excluded.match_key
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'links' <> '[]' THEN
        INSERT INTO gateway.payment_links AS t (payment_id, invoice_id, version)
        SELECT DISTINCT ON (d.payment_id) d.payment_id, d.invoice_id, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", invoice_id text, version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.payment_id, d.version DESC
        ON CONFLICT (payment_id) DO UPDATE SET invoice_id = excluded.invoice_id, version = excluded.version
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'findings' <> '[]' THEN
        INSERT INTO gateway.findings (event_id, code, subject, severity, detail)
        SELECT d.event_id, d.code, d.subject, d.severity, d.detail
        FROM pg_catalog.jsonb_to_recordset(batch -> 'findings') AS d (
            n integer, event_id text, code text, subject text, severity text, detail text)
        WHERE d.n <> ALL (refused)
        ON CONFLICT (event_id, code, subject) DO NOTHING;
    END IF;
END
$$;

-- Records the events that are not `known` with what became of them, and all that rules said about them.
DROP FUNCTION IF EXISTS gateway.record_events(jsonb, integer[], jsonb);
CREATE OR REPLACE FUNCTION gateway.put_events(batch jsonb, known integer[], outcomes jsonb, conflicts jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    INSERT INTO gateway.events AS t (
        id, type, account, livemode, created, api_version, object_id, payload, outcome, rule, reason, recorded_at)
    SELECT d.id, d.type, d.account, d.livemode, d.created, d.api_version, d.object_id, d.payload,
           b.became ->> 'outcome', b.became ->> 'rule', b.became ->> 'reason', pg_catalog.now()
    FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS d (
        n integer, id text, type text, account text, livemode boolean, created timestamptz, api_version text,
        object_id text, payload jsonb)
    CROSS JOIN LATERAL (SELECT outcomes -> d.n::text OFFSET 0) AS b (became)
    WHERE d.n <> ALL (known)
    ON CONFLICT (id) DO UPDATE SET
        outcome = excluded.outcome, rule = excluded.rule, reason = excluded.reason,
        recorded_at = excluded.recorded_at;

    IF batch -> 'decisions' <> '[]' THEN
        INSERT INTO gateway.guardian_decisions AS t (event_id, rule, severity, action, reason)
        SELECT d.event_id, d.rule, d.severity, d.action, d.reason
        FROM pg_catalog.jsonb_to_recordset(batch -> 'decisions') AS d (
            n integer, event_id text, rule text, severity text, action text, reason text)
        WHERE d.n <> ALL (known)
        ON CONFLICT (event_id, rule) DO UPDATE SET
            severity = excluded.severity, action = excluded.action, reason = excluded.reason;
    END IF;

    IF conflicts <> '{}' THEN
        INSERT INTO gateway.guardian_decisions AS t (event_id, rule, severity, action, reason)
        SELECT d.id, 'binding_conflict', 'critical', 'quarantine', conflicts ->> d.n::text
        FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS d (n integer, id text)
        WHERE d.n <> ALL (known) AND conflicts ? d.n::text
        ON CONFLICT (event_id, rule) DO UPDATE SET
            severity = excluded.severity, action = excluded.action, reason = excluded.reason;
    END IF;
END
$$;

-- Applies a batch. The whole of it is there when the call's transaction commits, and nothing of it otherwise. What comes
-- from an erased person is applied without personal data.
CREATE OR REPLACE FUNCTION gateway.apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    outcomes jsonb;
    conflicts jsonb;
    known integer[];
    refused integer[];
    subscriptions text[];
    customers text[];
    users text[];
    erased integer[];
BEGIN
    IF pg_catalog.jsonb_typeof(batch -> 'events') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'not a batch of this version' USING ERRCODE = 'GW001';
    END IF;
    -- What a batch before this one has committed must be seen once the lock is held.
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'batches are applied at the isolation level read committed' USING ERRCODE = 'GW003';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    IF EXISTS (SELECT FROM gateway.erasures) THEN
        erased := gateway.events_of_erased(batch);
        IF erased <> '{}' THEN
            batch := gateway.without_personal_data(batch, erased);
        END IF;
    END IF;
    SELECT j.outcomes, j.conflicts, j.known, j.refused INTO outcomes, conflicts, known, refused
    FROM gateway.decide(batch) j;
    SELECT t.subscriptions, t.customers INTO subscriptions, customers FROM gateway.touched(batch, refused) t;
    users := gateway.users_of(subscriptions, customers);
    PERFORM gateway.put_truth(batch, refused);
    PERFORM gateway.put_money(batch, refused);
    PERFORM gateway.put_events(batch, known, outcomes, conflicts);
    users := ARRAY(
        SELECT DISTINCT u FROM pg_catalog.unnest(users || gateway.users_of(subscriptions, customers)) u
        WHERE u IS NOT NULL);
    PERFORM gateway.project(users);
    RETURN (SELECT coalesce(pg_catalog.jsonb_agg(o.value), '[]') FROM pg_catalog.jsonb_each(outcomes) o);
END
$$;

-- Writes the platform rows of `public.subscriptions`: exactly one a user.
CREATE OR REPLACE FUNCTION gateway.show_subscriptions(users text[], columns jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    id_type text := columns ->> 'subscriber_id';
    -- Column and the expression it takes, over `a`, what the user has.
    wanted text[] := ARRAY[
        'user_id', 'a.u', 'status', 'a.status', 'tier', 'a.tier', 'stripe_subscription_id', 'a.subscription_id',
        'stripe_customer_id', 'a.customer_id', 'current_period_start', 'a.current_period_start',
        'current_period_end', 'a.current_period_end', 'canceled_at', 'a.canceled_at'];
    names text[];
    given text[];
    -- What the users have, with the id in the table's type and, in a catalogue, the row of the tier.
    source text := 'SELECT x.*, %1$s AS u %2$s FROM gateway.user_access x '
                   'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %3$L)';
    plain text := pg_catalog.format(source, gateway.as_public(id_type), '', id_type);
    -- The same with the place of each user's row. Every condition on that row is within an outer join, which fixes what is
    -- looked up by what; an UPDATE's own join could be turned round, since the planner takes platform rows for a handful.
    placed text := '(SELECT a.*, p.ctid AS place FROM (%s) a LEFT JOIN public.subscriptions p '
                   'ON p.subscriber_id = a.u AND p.creator_id = p.subscriber_id OFFSET 0) a '
                   'WHERE t.ctid = a.place AND t.subscriber_id IS NOT DISTINCT FROM a.u '
                   'AND t.creator_id IS NOT DISTINCT FROM a.u';
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    IF columns ->> 'tier_id' = 'uuid' THEN
        source := pg_catalog.format(
            source, gateway.as_public(id_type),
            ', CASE WHEN x.entitles THEN gateway.platform_tier(x.tier, x.subscription_id) END AS ref', id_type);
        wanted := wanted || ARRAY['tier_id', 'a.ref'];
    ELSE
        source := plain;
        IF columns ->> 'tier_id' = 'text' THEN
            wanted := wanted || ARRAY['tier_id', 'a.tier'];
        END IF;
    END IF;
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];

    -- An id that moves from one user's row to another's is taken away first, as it may stand only once.
    IF EXISTS (SELECT FROM gateway.user_access x WHERE x.user_id = ANY (users) AND x.subscription_id IS NULL) THEN
        EXECUTE pg_catalog.format(
            'UPDATE public.subscriptions t SET stripe_subscription_id = NULL FROM %s '
            'AND t.stripe_subscription_id IS NOT NULL AND a.subscription_id IS NULL',
            pg_catalog.format(placed, plain)) USING users;
    END IF;
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscriptions (subscriber_id, creator_id, %s) SELECT a.u, a.u, %s FROM (%s) a '
        'WHERE NOT EXISTS (SELECT FROM public.subscriptions t WHERE t.subscriber_id = a.u AND t.creator_id = a.u)',
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', '), source) USING users;
    -- The catalogue's row of a tier stays when the user has nothing any more, as counters of the table expect.
    given := pg_catalog.array_replace(given, 'a.ref', 'coalesce(a.ref, t.tier_id)');
    EXECUTE pg_catalog.format(
        'UPDATE public.subscriptions t SET %s %s FROM %s AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
         FROM pg_catalog.generate_subscripts(names, 1) i),
        stamp, pg_catalog.format(placed, source),
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', ')) USING users;
END
$$;

-- Writes every projection that is on. Users that a table cannot take are left waiting; anything else is an error.
CREATE OR REPLACE FUNCTION gateway.show_now(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    subscriptions jsonb := gateway.projection('subscriptions');
    tiers jsonb := gateway.projection('subscription_tiers');
    profiles jsonb := gateway.projection('user_profiles');
    id_type text := coalesce(subscriptions ->> 'subscriber_id', tiers ->> 'user_id', profiles ->> 'id', 'text');
    missing text[];
    unfit text[];
BEGIN
    -- Triggers of these tables are not the gateway's and may name tables without their schema.
    IF EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (
            pg_catalog.to_regclass('public.subscriptions'), pg_catalog.to_regclass('public.subscription_tiers'),
            pg_catalog.to_regclass('public.user_profiles'))) THEN
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
    END IF;
    IF subscriptions IS NOT NULL THEN
        PERFORM gateway.show_subscriptions(users, subscriptions);
    END IF;
    IF tiers IS NOT NULL THEN
        PERFORM gateway.show_subscription_tiers(users, tiers);
    END IF;
    IF profiles IS NOT NULL THEN
        missing := gateway.show_user_profiles(users, profiles);
    END IF;
    UPDATE gateway.user_access a SET shown = true, attempts = 0, retry_at = NULL, fault = NULL
    WHERE a.user_id = ANY (users) AND NOT a.shown AND gateway.fits(a.user_id, id_type)
      AND NOT a.user_id = ANY (coalesce(missing, '{}'));
    -- A constraint or trigger that is put off to the commit would take the truth down with it.
    SET CONSTRAINTS ALL IMMEDIATE;
    IF missing <> '{}' THEN
        PERFORM gateway.wait_for(missing, 'the user has no row in public.user_profiles yet');
    END IF;
    unfit := ARRAY(SELECT u FROM pg_catalog.unnest(users) u WHERE NOT gateway.fits(u, id_type));
    IF unfit <> '{}' THEN
        PERFORM gateway.wait_for(unfit, 'the user''s id does not fit the type of the public tables');
    END IF;
END
$$;

-- Works out what users have, and shows it, along with some of those who wait.
CREATE OR REPLACE FUNCTION gateway.project(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    others text[] := '{}';
    found text[];
    due text[];
BEGIN
    IF users <> '{}' THEN
        IF gateway.projection('subscriptions') IS NOT NULL THEN
            others := ARRAY(
                SELECT t.stripe_subscription_id
                FROM gateway.subscriptions_of(users) o
                CROSS JOIN LATERAL (
                    SELECT t.stripe_subscription_id FROM public.subscriptions t
                    WHERE t.stripe_subscription_id = (o.id COLLATE pg_catalog."default")
                      AND t.creator_id <> t.subscriber_id OFFSET 0) t);
        END IF;
        WITH best AS MATERIALIZED (
            SELECT * FROM gateway.best_of_users(users, others)
        ), written AS (
            INSERT INTO gateway.user_access AS a (
                user_id, subscription_id, customer_id, status, tier, entitles, current_period_start,
                current_period_end, canceled_at)
            SELECT * FROM best
            ON CONFLICT (user_id) DO UPDATE SET
                subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
                status = excluded.status, tier = excluded.tier, entitles = excluded.entitles,
                current_period_start = excluded.current_period_start,
                current_period_end = excluded.current_period_end, canceled_at = excluded.canceled_at, shown = false
            WHERE (a.subscription_id, a.customer_id, a.status, a.tier, a.entitles, a.current_period_start,
                   a.current_period_end, a.canceled_at)
                IS DISTINCT FROM (excluded.subscription_id, excluded.customer_id, excluded.status, excluded.tier,
                   excluded.entitles, excluded.current_period_start, excluded.current_period_end,
                   excluded.canceled_at)
        )
        SELECT coalesce(pg_catalog.array_agg(b.user_id), '{}') INTO found FROM best b;
        -- Whose subscriptions were all given to others has nothing left.
        UPDATE gateway.user_access a SET
            subscription_id = NULL, status = 'canceled', tier = 'free', entitles = false, shown = false
        WHERE a.user_id = ANY (users) AND a.subscription_id IS NOT NULL AND NOT a.user_id = ANY (found);
    END IF;
    SELECT coalesce(pg_catalog.array_agg(w.user_id), '{}') INTO due
    FROM (
        SELECT a.user_id FROM gateway.user_access a WHERE a.user_id = ANY (users)
        UNION
        (SELECT a.user_id FROM gateway.user_access a WHERE NOT a.shown AND a.retry_at <= pg_catalog.now()
         ORDER BY a.retry_at LIMIT 16)
    ) w;
    IF due <> '{}' THEN
        PERFORM gateway.show(due);
    END IF;
END
$$;

-- As in the file `gateway_access`: rows are looked up one by one. A list of what was read once, to be gone through for
-- each row of a batch, is what the planner would otherwise make of a table that it takes for small. Since it has no
-- choice, it need not choose again for each batch: that takes a copy of the whole batch per statement. And no statement of
-- a batch runs long enough to be worth compiling.
DO $$
DECLARE
    entry text;
BEGIN
    FOREACH entry IN ARRAY ARRAY['public.gateway_apply_batch(jsonb)', 'gateway.refresh(text, integer)'] LOOP
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SET enable_material = off', entry);
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SET plan_cache_mode = force_generic_plan', entry);
        EXECUTE pg_catalog.format('ALTER FUNCTION %s SET jit = off', entry);
    END LOOP;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260201000000, 'gateway_batches')
ON CONFLICT (version) DO NOTHING;
