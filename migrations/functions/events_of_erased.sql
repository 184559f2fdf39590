-- The events of a batch, by their `n`, that name a person whose data was erased. The event may name the person itself, or in rows
-- that were fetched, or as the customer of the payment that it is about.
CREATE OR REPLACE FUNCTION gateway.events_of_erased(batch jsonb) RETURNS integer[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN ARRAY(
        WITH named AS (
            SELECT p.key::integer AS n, 'customer' AS kind, i AS id
            FROM pg_catalog.jsonb_each(batch -> 'payloads') p
            CROSS JOIN LATERAL gateway.ids_in(p.value) i WHERE i LIKE 'cus\_%'
            UNION
            SELECT p.key::integer, 'user', u
            FROM pg_catalog.jsonb_each(batch -> 'payloads') p
            CROSS JOIN LATERAL gateway.users_in(p.value) u
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
            SELECT (d ->> 'n')::integer, 'customer', d ->> 'to_id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') d WHERE d ->> 'kind' = 'subscription_customer'
            UNION
            SELECT (d ->> 'n')::integer, 'user', d ->> 'user_id'
            FROM pg_catalog.jsonb_array_elements(batch -> 'claims') d
            UNION
            SELECT (d ->> 'n')::integer, 'customer', d ->> 'subject'
            FROM pg_catalog.jsonb_array_elements(batch -> 'claims') d
            WHERE (d ->> 'rank')::integer IN (10, 30, 40, 50, 60)
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
