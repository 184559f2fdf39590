-- Subscriptions whose owner or access may change by the rows of events that are not `refused`.
CREATE OR REPLACE FUNCTION gateway.touched(batch jsonb, refused integer[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found text[] := '{}';
BEGIN
    IF batch -> 'subscriptions' <> '[]' THEN
        found := ARRAY(
            SELECT DISTINCT d.id
            FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (n integer, id text COLLATE "C")
            WHERE d.n <> ALL (refused));
    END IF;
    IF batch -> 'bindings' <> '[]' THEN
        found := found || ARRAY(
            SELECT DISTINCT d.from_id
            FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (n integer, kind text, from_id text COLLATE "C")
            WHERE d.n <> ALL (refused) AND d.kind = 'subscription_tier' AND d.from_id <> ALL (found));
    END IF;
    IF batch -> 'claims' <> '[]' THEN
        found := ARRAY(
            SELECT pg_catalog.unnest(found)
            UNION
            SELECT s.id
            FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (n integer, subject text COLLATE "C", rank smallint)
            CROSS JOIN LATERAL (
                SELECT d.subject AS id WHERE d.rank NOT IN (10, 30, 40, 50, 60)
                UNION ALL
                SELECT s.id FROM gateway.stripe_subscriptions s
                WHERE s.customer_id = d.subject AND d.rank IN (10, 30, 40, 50, 60) OFFSET 0) s
            WHERE d.n <> ALL (refused));
    END IF;
    RETURN found;
END
$$;
