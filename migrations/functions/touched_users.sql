-- The users to whom these subscriptions and customers are bound now.
CREATE OR REPLACE FUNCTION gateway.touched_users(subscriptions text[], customers text[]) RETURNS text[]
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
