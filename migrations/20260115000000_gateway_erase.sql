-- Erasing a person's data: `public.gateway_erase(request)`, and what keeps the data from coming back.
--
-- What goes: the payloads of events and the raw objects of customers and subscriptions, down to ids, types and times;
-- users named by metadata; the bindings to the user. What stays are the records of accounting: amounts, currencies, dates,
-- states and Stripe's identifiers. A tombstone holds the fingerprint of an id, not the id; events that name an erased
-- person from then on are recorded without personal data, and say so as a finding.

CREATE TABLE IF NOT EXISTS gateway.erasures (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'customer')),
    fingerprint text COLLATE "C" NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (kind, fingerprint)
);

-- What is kept of an id: enough to recognise it.
CREATE OR REPLACE FUNCTION gateway.fingerprint(kind text, id text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.encode(pg_catalog.sha256(
        pg_catalog.convert_to('colony-gateway erasure ' || kind || ' ' || id, 'UTF8')), 'hex')
$$;

-- Texts of a document that look like ids of Stripe.
CREATE OR REPLACE FUNCTION gateway.ids_in(document jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT m[1] FROM pg_catalog.regexp_matches(document::text, '"([a-z]+_[A-Za-z0-9_]+)"', 'g') m $$;

-- Users that a document names in the fields that name users; a UUID in lower case.
CREATE OR REPLACE FUNCTION gateway.users_in(document jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE WHEN t ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN pg_catalog.lower(t)
                ELSE t END
    FROM pg_catalog.regexp_matches(
        document::text, '"(?:userId|user_id|client_reference_id)": "((?:[^"\\]|\\.)*)"', 'g') m
    CROSS JOIN LATERAL (SELECT pg_catalog.btrim(('"' || m[1] || '"')::jsonb #>> '{}', E' \t\r\n')) AS x (t)
$$;

-- What is left of an object: which one it was.
CREATE OR REPLACE FUNCTION gateway.reduced_object(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'erased', true))
$$;

-- What is left of an event: which one it was, of which type and when, and the id of its object.
CREATE OR REPLACE FUNCTION gateway.reduced_event(document jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'id', document -> 'id', 'object', document -> 'object', 'type', document -> 'type',
        'created', document -> 'created', 'livemode', document -> 'livemode',
        'api_version', document -> 'api_version', 'account', document -> 'account',
        'data', pg_catalog.jsonb_build_object('object', pg_catalog.jsonb_build_object(
            'id', document #> '{data,object,id}', 'object', document #> '{data,object,object}')),
        'erased', true))
$$;

-- A list of a person's ids.
CREATE OR REPLACE FUNCTION gateway.ids_of(person jsonb, list text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT ARRAY(SELECT pg_catalog.jsonb_array_elements_text(person -> list)) $$;

-- The ids that lead to a person, whether subscriptions entitle the person, and whether the subject was erased before.
CREATE OR REPLACE FUNCTION gateway.erase_find(subject jsonb, most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    given text := subject ->> 'id';
    users text[] := '{}';
    customers text[] := '{}';
    subscriptions text[] := '{}';
    objects text[];
BEGIN
    IF subject ->> 'kind' = 'user' THEN
        users := ARRAY[given];
        customers := ARRAY(
            SELECT b.from_id FROM gateway.customer_bindings b WHERE b.kind = 'customer_user' AND b.to_id = given
            UNION
            SELECT s.customer_id FROM gateway.customer_bindings b
            JOIN gateway.stripe_subscriptions s ON s.id = b.from_id
            WHERE b.kind = 'subscription_user' AND b.to_id = given AND s.customer_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM gateway.customer_bindings o
                              WHERE o.kind = 'customer_user' AND o.from_id = s.customer_id AND o.to_id <> given));
        subscriptions := ARRAY(
            SELECT b.from_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_user' AND b.to_id = given);
    ELSE
        customers := ARRAY[given];
    END IF;
    -- Subscriptions of a customer, but for those that are bound to another user.
    subscriptions := ARRAY(
        SELECT pg_catalog.unnest(subscriptions)
        UNION
        SELECT x.id FROM (
            SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = ANY (customers)
            UNION
            SELECT b.from_id FROM gateway.customer_bindings b
            WHERE b.kind = 'subscription_customer' AND b.to_id = ANY (customers)
        ) x
        WHERE users = '{}' OR NOT EXISTS (
            SELECT FROM gateway.customer_bindings o
            WHERE o.kind = 'subscription_user' AND o.from_id = x.id AND NOT o.to_id = ANY (users)));
    -- Invoices and payments, then refunds and disputes of these payments.
    WITH own AS (
        SELECT r.key, r.payment_id, r.charge_id, r.invoice_id FROM gateway.revenue_entries r
        WHERE r.customer_id = ANY (customers) OR r.subscription_id = ANY (subscriptions) OR r.user_id = ANY (users)
    ), first AS (
        SELECT key AS id FROM own UNION SELECT payment_id FROM own UNION SELECT charge_id FROM own
        UNION SELECT invoice_id FROM own
    ), found AS (
        SELECT f.id FROM first f WHERE f.id IS NOT NULL
        UNION SELECT r.key FROM first f JOIN gateway.revenue_entries r ON r.payment_id = f.id
        UNION SELECT l.invoice_id FROM first f JOIN gateway.payment_links l ON l.payment_id = f.id
        WHERE l.invoice_id IS NOT NULL
    )
    SELECT coalesce(pg_catalog.array_agg(f.id), '{}') INTO objects FROM found f;
    IF pg_catalog.cardinality(customers) + pg_catalog.cardinality(subscriptions) + pg_catalog.cardinality(objects)
       > most THEN
        RAISE EXCEPTION 'more than % ids lead there: that is no person', most USING ERRCODE = '22023';
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'person', pg_catalog.jsonb_build_object(
            'users', users, 'customers', customers, 'subscriptions', subscriptions, 'objects', objects),
        'entitling', (SELECT pg_catalog.count(*) FROM gateway.stripe_subscriptions s
                      WHERE s.id = ANY (subscriptions) AND s.entitles),
        'erased_before', EXISTS (SELECT FROM gateway.erasures e
                                 WHERE e.fingerprint = gateway.fingerprint(subject ->> 'kind', given)));
END
$$;

-- Leaves or takes away the tombstones of a person's users and customers. Under the lock of batches, so that the next
-- batch sees it.
CREATE OR REPLACE FUNCTION gateway.erase_mark(person jsonb, there boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    changed bigint;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    IF there THEN
        INSERT INTO gateway.erasures (kind, fingerprint)
        SELECT 'user', gateway.fingerprint('user', u) FROM pg_catalog.unnest(gateway.ids_of(person, 'users')) u
        UNION
        SELECT 'customer', gateway.fingerprint('customer', c)
        FROM pg_catalog.unnest(gateway.ids_of(person, 'customers')) c
        ON CONFLICT (kind, fingerprint) DO UPDATE SET erased_at = pg_catalog.now();
    ELSE
        DELETE FROM gateway.erasures e
        WHERE (e.kind = 'user' AND e.fingerprint IN (
                SELECT gateway.fingerprint('user', u) FROM pg_catalog.unnest(gateway.ids_of(person, 'users')) u))
           OR (e.kind = 'customer' AND e.fingerprint IN (
                SELECT gateway.fingerprint('customer', c)
                FROM pg_catalog.unnest(gateway.ids_of(person, 'customers')) c));
    END IF;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN pg_catalog.jsonb_build_object('marked', changed);
END
$$;

-- Reduces the person's events among the next `most` after `start`.
CREATE OR REPLACE FUNCTION gateway.erase_events(person jsonb, start text, most integer, dry_run boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    users text[] := gateway.ids_of(person, 'users');
    ids text[] := gateway.ids_of(person, 'customers') || gateway.ids_of(person, 'subscriptions')
                  || gateway.ids_of(person, 'objects');
    looked_at text[] := ARRAY(SELECT e.id FROM gateway.events e WHERE e.id > start ORDER BY e.id LIMIT most);
    named text[];
BEGIN
    named := ARRAY(
        SELECT e.id FROM gateway.events e
        WHERE e.id = ANY (looked_at) AND NOT e.payload ? 'erased'
          AND (e.object_id = ANY (ids)
               OR EXISTS (SELECT FROM gateway.ids_in(e.payload) i WHERE i = ANY (ids))
               OR EXISTS (SELECT FROM gateway.users_in(e.payload) u WHERE u = ANY (users))));
    IF NOT dry_run THEN
        UPDATE gateway.events e SET payload = gateway.reduced_event(e.payload) WHERE e.id = ANY (named);
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'last', looked_at[pg_catalog.cardinality(looked_at)], 'erased', pg_catalog.cardinality(named));
END
$$;

-- Reduces the person's rows and cuts the bindings to the user. What the public tables show of the user is then what is true
-- of one without a subscription.
CREATE OR REPLACE FUNCTION gateway.erase_rows(person jsonb, dry_run boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    users text[] := gateway.ids_of(person, 'users');
    cus text[] := gateway.ids_of(person, 'customers');
    subs text[] := gateway.ids_of(person, 'subscriptions');
    touched text[];
    reduced_customers bigint;
    reduced_subscriptions bigint;
    cut_revenue bigint;
    cut_bindings bigint;
    hidden bigint := 0;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    BEGIN
        UPDATE gateway.stripe_customers t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (cus) AND NOT t.raw ? 'erased';
        GET DIAGNOSTICS reduced_customers = ROW_COUNT;
        UPDATE gateway.stripe_subscriptions t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (subs) AND NOT t.raw ? 'erased';
        GET DIAGNOSTICS reduced_subscriptions = ROW_COUNT;
        UPDATE gateway.revenue_entries t SET user_id = NULL
        WHERE t.user_id IS NOT NULL
          AND (t.user_id = ANY (users) OR t.customer_id = ANY (cus) OR t.subscription_id = ANY (subs));
        GET DIAGNOSTICS cut_revenue = ROW_COUNT;
        WITH cut AS (
            DELETE FROM gateway.customer_bindings b
            WHERE b.kind IN ('customer_user', 'subscription_user')
              AND (b.to_id = ANY (users) OR b.from_id = ANY (cus) OR b.from_id = ANY (subs))
            RETURNING b.to_id
        )
        SELECT pg_catalog.count(*), users || coalesce(pg_catalog.array_agg(DISTINCT c.to_id), '{}')
        INTO cut_bindings, touched FROM cut c;
        UPDATE gateway.stripe_customers t SET metadata_user_id = NULL WHERE t.metadata_user_id = ANY (users);
        UPDATE gateway.stripe_subscriptions t SET metadata_user_id = NULL WHERE t.metadata_user_id = ANY (users);
        UPDATE gateway.user_access a SET customer_id = NULL, shown = false
        WHERE a.customer_id = ANY (cus) OR a.user_id = ANY (users);
        touched := touched || ARRAY(SELECT a.user_id FROM gateway.user_access a WHERE a.subscription_id = ANY (subs));
        IF touched <> '{}' THEN
            PERFORM gateway.project(touched);
        END IF;
        -- The row says nothing any more, unless a public table could not be brought up to date. An id that does not fit
        -- the type of the public tables is in none of them.
        DELETE FROM gateway.user_access a
        WHERE a.user_id = ANY (users) AND (a.shown OR a.fault LIKE 'the user''s id does not fit%');
        SELECT pg_catalog.count(*) INTO hidden FROM gateway.user_access a WHERE a.user_id = ANY (users);
        IF dry_run THEN
            RAISE EXCEPTION 'a dry run' USING ERRCODE = 'GW009';
        END IF;
    EXCEPTION
        -- All of the block is undone; what it counted is not.
        WHEN SQLSTATE 'GW009' THEN NULL;
    END;
    RETURN pg_catalog.jsonb_build_object(
        'customers', reduced_customers, 'subscriptions', reduced_subscriptions, 'revenue', cut_revenue,
        'bindings', cut_bindings, 'not_shown', CASE WHEN dry_run THEN 0 ELSE hidden END);
END
$$;

CREATE OR REPLACE FUNCTION gateway.erase(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    RETURN CASE request ->> 'op'
        WHEN 'find' THEN gateway.erase_find(request -> 'subject', (request ->> 'most')::integer)
        WHEN 'mark' THEN gateway.erase_mark(request -> 'person', true)
        WHEN 'unmark' THEN gateway.erase_mark(request -> 'person', false)
        WHEN 'events' THEN gateway.erase_events(
            request -> 'person', request ->> 'after', (request ->> 'most')::integer, (request ->> 'dry_run')::boolean)
        WHEN 'rows' THEN gateway.erase_rows(request -> 'person', (request ->> 'dry_run')::boolean)
    END;
END
$$;

-- The events of a batch, by their `n`, that name a person whose data was erased: in the event, or in rows that were
-- fetched, or as the customer of the payment that they are about.
CREATE OR REPLACE FUNCTION gateway.events_of_erased(batch jsonb) RETURNS integer[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN ARRAY(
        WITH named AS (
            SELECT (e ->> 'n')::integer AS n, 'customer' AS kind, i AS id
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
            CROSS JOIN LATERAL gateway.ids_in(e -> 'payload') i WHERE i LIKE 'cus\_%'
            UNION
            SELECT (e ->> 'n')::integer, 'user', u
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
            CROSS JOIN LATERAL gateway.users_in(e -> 'payload') u
            UNION
            SELECT (d ->> 'n')::integer, 'customer', d ->> 'customer_id'
            FROM pg_catalog.jsonb_array_elements((batch -> 'subscriptions') || (batch -> 'revenue')) d
            UNION
            SELECT (d ->> 'n')::integer, 'customer', d ->> 'id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'customers') d
            UNION
            SELECT (d ->> 'n')::integer, 'user', coalesce(d ->> 'metadata_user_id', d ->> 'user_id')
            FROM pg_catalog.jsonb_array_elements(
                (batch -> 'subscriptions') || (batch -> 'customers') || (batch -> 'revenue')) d
            UNION
            SELECT (d ->> 'n')::integer, pg_catalog.split_part(d ->> 'kind', '_', 2), d ->> 'to_id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d
            UNION
            SELECT (d ->> 'n')::integer, 'customer', d ->> 'from_id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d WHERE d ->> 'kind' = 'customer_user'
            UNION
            SELECT (d ->> 'n')::integer, 'customer', r.customer_id
            FROM pg_catalog.jsonb_array_elements(batch -> 'revenue') d
            JOIN gateway.revenue_entries r ON r.payment_id = d ->> 'payment_id'
        )
        SELECT DISTINCT named.n FROM named
        WHERE named.id IS NOT NULL AND EXISTS (
            SELECT FROM gateway.erasures x
            WHERE x.kind = named.kind AND x.fingerprint = gateway.fingerprint(named.kind, named.id)));
END
$$;

-- The batch without the personal data of its events `ns`.
CREATE OR REPLACE FUNCTION gateway.without_personal_data(batch jsonb, ns integer[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT batch || pg_catalog.jsonb_build_object(
        'events', (SELECT pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object('payload', gateway.reduced_event(e -> 'payload')) ELSE e END
                ORDER BY place)
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') WITH ORDINALITY AS x (e, place)),
        'bindings', (SELECT coalesce(pg_catalog.jsonb_agg(e ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') WITH ORDINALITY AS x (e, place)
            WHERE NOT ((e ->> 'n')::integer = ANY (ns) AND e ->> 'kind' IN ('customer_user', 'subscription_user'))),
        'subscriptions', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object(
                    'raw', gateway.reduced_object(e -> 'raw'), 'metadata_user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') WITH ORDINALITY AS x (e, place)),
        'customers', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object(
                    'raw', gateway.reduced_object(e -> 'raw'), 'metadata_user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'customers') WITH ORDINALITY AS x (e, place)),
        'revenue', (SELECT coalesce(pg_catalog.jsonb_agg(CASE WHEN (e ->> 'n')::integer = ANY (ns)
                THEN e || pg_catalog.jsonb_build_object('user_id', NULL) ELSE e END ORDER BY place), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'revenue') WITH ORDINALITY AS x (e, place)),
        'findings', (batch -> 'findings') || (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'n', e -> 'n', 'event_id', e -> 'id', 'code', 'erased_person', 'severity', 'warning',
                'subject', coalesce(e ->> 'object_id', ''), 'detail', 'names a person whose data was erased: recorded '
                'without personal data and without a link to the user')), '[]')
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
            WHERE (e ->> 'n')::integer = ANY (ns) AND e ->> 'verdict' = 'apply'))
$$;

-- Applies a batch. The whole of it is there when the call's transaction commits, and nothing of it otherwise. As before,
-- but that what comes from an erased person is applied without personal data.
CREATE OR REPLACE FUNCTION gateway.apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    outcomes jsonb;
    fresh integer[];
    accepted integer[];
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

-- The entry, for the service role and the owner alone.
CREATE OR REPLACE FUNCTION public.gateway_erase(request jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.erase(request) $$;

DO $$
DECLARE
    role text;
BEGIN
    REVOKE ALL ON FUNCTION public.gateway_erase(jsonb) FROM PUBLIC;
    FOREACH role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF pg_catalog.to_regrole(role) IS NOT NULL THEN
            EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION public.gateway_erase(jsonb) FROM %I', role);
        END IF;
    END LOOP;
    IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION public.gateway_erase(jsonb) TO service_role;
    END IF;
    REVOKE ALL ON gateway.erasures FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;
    ALTER TABLE gateway.erasures ENABLE ROW LEVEL SECURITY;
END
$$;

NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260115000000, 'gateway_erase')
ON CONFLICT (version) DO NOTHING;
