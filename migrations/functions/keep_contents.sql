-- Keeps the contents of the objects in doubt: those in the batch and those already stored. Among contents of one second, and
-- those that list only a part, the greatest version may not be the right one. `gateway.settle` decides and removes the others.
CREATE OR REPLACE FUNCTION gateway.keep_contents(batch jsonb, refused integer[], doubtful text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF batch -> 'subscriptions' <> '[]' THEN
        INSERT INTO gateway.kept_subscriptions
        SELECT t.* FROM gateway.stripe_subscriptions t WHERE t.id = ANY (doubtful) ON CONFLICT DO NOTHING;
        INSERT INTO gateway.kept_subscriptions
        SELECT r.* FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') d,
        LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.kept_subscriptions, pg_catalog.jsonb_build_object(
            'raw', batch #> ARRAY['payloads', d ->> 'n', 'data', 'object']) || d || '{"tied": false}') r
        WHERE d ->> 'id' = ANY (doubtful) AND (d ->> 'n')::integer <> ALL (refused)
        ON CONFLICT DO NOTHING;
        -- Derived from other events, and worked out again.
        UPDATE gateway.kept_subscriptions k SET tied = false, late_since = NULL, grace_ends_at = NULL, recheck_at = NULL
        WHERE k.id = ANY (doubtful);
    END IF;
    IF batch -> 'customers' <> '[]' THEN
        INSERT INTO gateway.kept_customers
        SELECT t.* FROM gateway.stripe_customers t WHERE t.id = ANY (doubtful) ON CONFLICT DO NOTHING;
        INSERT INTO gateway.kept_customers
        SELECT r.* FROM pg_catalog.jsonb_array_elements(batch -> 'customers') d,
        LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.kept_customers, pg_catalog.jsonb_build_object(
            'raw', batch #> ARRAY['payloads', d ->> 'n', 'data', 'object']) || d || '{"tied": false}') r
        WHERE d ->> 'id' = ANY (doubtful) AND (d ->> 'n')::integer <> ALL (refused)
        ON CONFLICT DO NOTHING;
        UPDATE gateway.kept_customers k SET tied = false WHERE k.id = ANY (doubtful);
    END IF;
END
$$;
