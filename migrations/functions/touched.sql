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
