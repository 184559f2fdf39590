-- What the ledger has about a user, or about the person to whom a customer or a subscription leads: at most `most` rows of each
-- kind, those that give most or are newest. What leads on to others is cut nowhere, so that none of these is missed. If several
-- users claim a customer, it leads on to none of them.
CREATE OR REPLACE FUNCTION gateway.person(kind text, given text, most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = '' SET jit = off
AS $$
DECLARE
    users text[] := '{}';
    customers text[] := '{}';
    payers text[];
    subs text[] := '{}';
    keys text[];
    told text[];
BEGIN
    IF kind = 'user' THEN
        users := ARRAY[given];
    ELSIF kind = 'customer' THEN
        customers := ARRAY[given];
    ELSE
        subs := ARRAY[given];
        customers := ARRAY(
            SELECT s.customer_id FROM gateway.stripe_subscriptions s WHERE s.id = given AND s.customer_id IS NOT NULL
            UNION SELECT b.to_id FROM gateway.customer_bindings b WHERE b.kind = 'subscription_customer' AND b.from_id = given);
    END IF;
    IF kind <> 'user' THEN
        users := ARRAY(
            SELECT DISTINCT c.user_id FROM gateway.claims c
            WHERE c.subject = ANY (customers || subs || ARRAY(
                SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = ANY (customers)
                UNION SELECT b.from_id FROM gateway.customer_bindings b
                WHERE b.kind = 'subscription_customer' AND b.to_id = ANY (customers)))
            ORDER BY 1 LIMIT most);
    END IF;
    IF pg_catalog.cardinality(users) = 1 THEN
        customers := ARRAY(
            SELECT pg_catalog.unnest(customers)
            UNION SELECT c.subject FROM gateway.claims c WHERE c.user_id = users[1] AND c.rank IN (10, 30, 40, 50, 60));
        subs := ARRAY(
            SELECT pg_catalog.unnest(subs)
            UNION SELECT c.subject FROM gateway.claims c WHERE c.user_id = users[1] AND c.rank NOT IN (10, 30, 40, 50, 60));
    END IF;
    subs := ARRAY(
        SELECT x.id FROM (
            SELECT pg_catalog.unnest(subs) AS id
            UNION SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = ANY (customers)
            UNION SELECT b.from_id FROM gateway.customer_bindings b
            WHERE b.kind = 'subscription_customer' AND b.to_id = ANY (customers)) x
        LEFT JOIN gateway.stripe_subscriptions s ON s.id = x.id
        ORDER BY x.id = given DESC, s.preference DESC NULLS LAST, x.id COLLATE "C" LIMIT most);
    -- The customers that pay for the user's subscriptions.
    payers := ARRAY(
        SELECT s.customer_id FROM gateway.stripe_subscriptions s
        WHERE s.id = ANY (subs) AND s.customer_id IS NOT NULL
        UNION SELECT b.to_id FROM gateway.customer_bindings b
        WHERE b.kind = 'subscription_customer' AND b.from_id = ANY (subs));
    keys := ARRAY(
        SELECT r.key FROM gateway.revenue_entries r WHERE r.customer_id = ANY (customers || payers)
        ORDER BY r.occurred_at DESC, r.key LIMIT most);
    customers := ARRAY(
        SELECT x.id FROM (SELECT pg_catalog.unnest(customers || payers) AS id) x
        GROUP BY x.id ORDER BY x.id = given DESC, x.id = ANY (payers) DESC, x.id COLLATE "C" LIMIT most);
    keys := ARRAY(
        SELECT pg_catalog.unnest(keys)
        UNION SELECT x.key FROM gateway.revenue_entries x
        WHERE x.payment_id IN (SELECT r.payment_id FROM gateway.revenue_entries r WHERE r.key = ANY (keys)));
    told := ARRAY(
        SELECT e.id FROM gateway.events e WHERE e.object_id = ANY (subs || customers || keys)
        ORDER BY e.created DESC, e.id LIMIT most);
    RETURN pg_catalog.jsonb_build_object(
        'users', users, 'customers', gateway.person_customers(customers),
        'subscriptions', gateway.person_subscriptions(subs),
        'untold', (SELECT coalesce(pg_catalog.jsonb_agg(x.id ORDER BY x.id), '[]') FROM pg_catalog.unnest(subs) AS x (id)
            WHERE NOT EXISTS (SELECT FROM gateway.stripe_subscriptions s WHERE s.id = x.id)
              AND (EXISTS (SELECT FROM gateway.customer_bindings b WHERE b.kind = 'subscription_customer' AND b.from_id = x.id)
                OR EXISTS (SELECT FROM gateway.claims c WHERE c.subject = x.id))),
        'erased_at_ms', (SELECT gateway.millis(r.erased_at) FROM gateway.erasures r
            WHERE r.kind = person.kind AND r.fingerprint = gateway.fingerprint(person.kind, given)),
        'access', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'user_id', a.user_id, 'subscription_id', a.subscription_id, 'status', a.status, 'tier', a.tier,
                'entitles', a.entitles, 'shown', a.shown, 'attempts', a.attempts, 'fault', a.fault,
                'retry_at_ms', gateway.millis(a.retry_at))), '[]')
            FROM gateway.user_access a WHERE a.user_id = ANY (users)),
        'claims', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c) ORDER BY c.rank DESC, c.subject, c.user_id), '[]') FROM (
            SELECT c.subject, c.rank, c.user_id, c.evidence, c.version FROM gateway.claims c
            WHERE c.subject = ANY (subs || customers) ORDER BY c.rank DESC, c.subject, c.user_id LIMIT most) c),
        'money', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) ORDER BY m.occurred_at_ms DESC, m.key), '[]') FROM (
            SELECT r.kind, r.key, r.amount_minor, r.currency, r.account, r.livemode, r.status, r.invoice_id, r.payment_id,
                r.subscription_id, r.customer_id, gateway.millis(r.occurred_at) AS occurred_at_ms
            FROM gateway.revenue_entries r WHERE r.key = ANY (keys) ORDER BY r.occurred_at DESC, r.key LIMIT most) m),
        'events', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(e) ORDER BY e.created_ms DESC, e.id), '[]') FROM (
            SELECT e.id, e.type, e.object_id, e.outcome, e.rule, e.reason, gateway.millis(e.created) AS created_ms
            FROM gateway.events e WHERE e.id = ANY (told)) e),
        'findings', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(f) ORDER BY f.code, f.event_id), '[]') FROM (
            SELECT f.event_id, f.code, f.severity, f.subject, f.detail FROM gateway.findings f
            WHERE f.event_id = ANY (told) LIMIT most) f),
        'shadow', gateway.is_shadow(), 'has_tables', true);
END
$$;
