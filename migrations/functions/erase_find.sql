-- The ids that lead to a person, how many of the subscriptions entitle the person, and whether the subject was erased before.
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
        -- If others claim the customer too, it is not this person's alone. The customer stays, and so does what pays for the
        -- others.
        customers := ARRAY(
            SELECT c.subject FROM gateway.claims c
            WHERE c.user_id = given AND c.rank IN (10, 30, 40, 50, 60)
              AND NOT EXISTS (SELECT FROM gateway.claims o WHERE o.subject = c.subject AND o.user_id <> given)
            UNION
            SELECT s.customer_id FROM gateway.claims c
            JOIN gateway.stripe_subscriptions s ON s.id = c.subject
            WHERE c.user_id = given AND s.customer_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM gateway.claims o WHERE o.subject = s.customer_id AND o.user_id <> given)
              AND NOT EXISTS (SELECT FROM gateway.stripe_subscriptions x JOIN gateway.claims o ON o.subject = x.id
                              WHERE x.customer_id = s.customer_id AND o.user_id <> given));
        subscriptions := ARRAY(
            SELECT DISTINCT c.subject FROM gateway.claims c
            WHERE c.user_id = given AND c.rank NOT IN (10, 30, 40, 50, 60)
              AND coalesce((SELECT o.user_id FROM gateway.owners(ARRAY[c.subject]) o), given) = given);
    ELSE
        customers := ARRAY[given];
    END IF;
    -- Subscriptions of a customer, except those that belong to another user.
    subscriptions := ARRAY(
        SELECT pg_catalog.unnest(subscriptions)
        UNION
        SELECT x.id FROM (
            SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = ANY (customers)
            UNION
            SELECT b.from_id FROM gateway.customer_bindings b
            WHERE b.kind = 'subscription_customer' AND b.to_id = ANY (customers)
        ) x
        WHERE users = '{}' OR coalesce((SELECT o.user_id FROM gateway.owners(ARRAY[x.id]) o), given) = ANY (users));
    -- Invoices and payments, and then the refunds and disputes of these payments.
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
        RAISE EXCEPTION 'more than % ids belong to this subject: too many for one person', most USING ERRCODE = '22023';
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
