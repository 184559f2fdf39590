-- Which of the contents in `request`, {"subscriptions", "customers"}, are held under the same version and say something else.
-- Stripe's object is not compared, because no rule makes it, nor is what follows from several rows. A tied or partial row may
-- have been completed, so its contents are compared where they are kept.
CREATE OR REPLACE FUNCTION gateway.recount_differing(request jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    aside CONSTANT text[] := '{raw,tied,late_since,grace_ends_at,recheck_at}';
BEGIN
    RETURN (
        WITH subscriptions AS MATERIALIZED (
            SELECT r.id, r.version, pg_catalog.to_jsonb(r) - aside AS content
            FROM pg_catalog.jsonb_array_elements(request -> 'subscriptions') d,
            LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.stripe_subscriptions, d) r
        ), customers AS MATERIALIZED (
            SELECT r.id, r.version, pg_catalog.to_jsonb(r) - aside AS content
            FROM pg_catalog.jsonb_array_elements(request -> 'customers') d,
            LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.stripe_customers, d) r
        )
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'truth', x.truth, 'id', x.id, 'version', x.version)), '[]')
        FROM (
            SELECT 'subscriptions' AS truth, d.id, d.version FROM subscriptions d
            JOIN gateway.stripe_subscriptions t ON t.id = d.id AND t.version = d.version AND NOT t.tied AND NOT t.partial
            WHERE pg_catalog.to_jsonb(t) - aside <> d.content
            UNION
            SELECT 'subscriptions', d.id, d.version FROM subscriptions d
            JOIN gateway.kept_subscriptions t ON t.id = d.id AND t.version = d.version
            WHERE pg_catalog.to_jsonb(t) - aside <> d.content
            UNION
            SELECT 'subscriptions', d.id, d.version FROM subscriptions d
            JOIN gateway.kept_vouched t ON t.id = d.id AND t.version = d.version
            WHERE pg_catalog.to_jsonb(t) - aside <> d.content
            UNION
            SELECT 'customers', d.id, d.version FROM customers d
            JOIN gateway.stripe_customers t ON t.id = d.id AND t.version = d.version AND NOT t.tied
            WHERE pg_catalog.to_jsonb(t) - aside <> d.content
            UNION
            SELECT 'customers', d.id, d.version FROM customers d
            JOIN gateway.kept_customers t ON t.id = d.id AND t.version = d.version
            WHERE pg_catalog.to_jsonb(t) - aside <> d.content
        ) x);
END
$$;
