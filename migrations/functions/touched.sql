-- Subscriptions whose owner or access the rows of events that are not `refused` may change.
CREATE OR REPLACE FUNCTION gateway.touched(batch jsonb, refused integer[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN ARRAY(
        WITH claimed AS MATERIALIZED (
            SELECT DISTINCT d.subject, d.rank IN (10, 30, 40, 50, 60) AS is_customer
            FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (
                n integer, subject text COLLATE "C", rank smallint)
            WHERE d.n <> ALL (refused)
        )
        SELECT d.id
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (n integer, id text COLLATE "C")
        WHERE d.n <> ALL (refused)
        UNION
        SELECT d.from_id
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (n integer, kind text, from_id text COLLATE "C")
        WHERE d.n <> ALL (refused) AND d.kind = 'subscription_tier'
        UNION
        SELECT c.subject FROM claimed c WHERE NOT c.is_customer
        UNION
        SELECT s.id
        FROM claimed c
        CROSS JOIN LATERAL (
            SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = c.subject OFFSET 0) s
        WHERE c.is_customer
    );
END
$$;
