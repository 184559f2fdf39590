-- A text that changes with everything the form of the public tables depends on: the gateway's switches, columns and their types,
-- CHECK constraints, triggers, policies, and what users may write. It names a catalogue row by the transaction that wrote it,
-- which costs a fraction of reading the row.
CREATE OR REPLACE FUNCTION gateway.form_stamp() RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    subscriptions pg_catalog.oid := pg_catalog.to_regclass('public.subscriptions');
    tiers pg_catalog.oid := pg_catalog.to_regclass('public.subscription_tiers');
    profiles pg_catalog.oid := pg_catalog.to_regclass('public.user_profiles');
    relations pg_catalog.oid[] := ARRAY[subscriptions, tiers, profiles];
    anon pg_catalog.oid := pg_catalog.to_regrole('anon');
    authenticated pg_catalog.oid := pg_catalog.to_regrole('authenticated');
    rows text;
    own_types pg_catalog.oid[];
BEGIN
    SELECT pg_catalog.string_agg(x.xmin::text, ' '), pg_catalog.array_agg(x.type) FILTER (WHERE x.type >= 16384)
    INTO rows, own_types
    FROM (
        SELECT p.xmin, 0::pg_catalog.oid AS type FROM gateway.projections p
        UNION ALL SELECT o.xmin, 0 FROM gateway.operation o WHERE o.only_row
        UNION ALL SELECT c.xmin, 0 FROM pg_catalog.pg_class c WHERE c.oid = ANY (relations)
        UNION ALL SELECT a.xmin, a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY (relations) AND a.attnum > 0
        UNION ALL SELECT c.xmin, 0 FROM pg_catalog.pg_constraint c WHERE c.conrelid = ANY (relations) AND c.contype = 'c'
        UNION ALL SELECT t.xmin, 0 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = ANY (relations) AND NOT t.tgisinternal
        UNION ALL SELECT p.xmin, 0 FROM pg_catalog.pg_policy p WHERE p.polrelid = subscriptions
    ) x;
    -- Types that are not PostgreSQL's own may change in name, words and conditions.
    IF own_types IS NOT NULL THEN
        rows := pg_catalog.concat_ws(' ', rows, (
            SELECT pg_catalog.string_agg(x.xmin::text, ' ')
            FROM (
                SELECT t.xmin FROM pg_catalog.pg_type t WHERE t.oid = ANY (own_types)
                UNION ALL SELECT e.xmin FROM pg_catalog.pg_enum e WHERE e.enumtypid = ANY (own_types)
                UNION ALL SELECT c.xmin FROM pg_catalog.pg_constraint c WHERE c.contypid = ANY (own_types)
            ) x));
    END IF;
    -- Where the rows of the tables decide, no catalogue tells of a change.
    IF subscriptions IS NOT NULL AND tiers IS NOT NULL AND EXISTS (
            SELECT FROM gateway.projections p
            WHERE p.name = 'subscriptions' AND p.form IS NULL AND NOT p.made AND p.mode <> 'on') THEN
        BEGIN
            rows := pg_catalog.concat_ws(' ', rows, gateway.subscriptions_form());
        EXCEPTION
            WHEN OTHERS THEN
                IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                    RAISE;
                END IF;
                -- A table that cannot be read now keeps no event from the truth; `gateway.form_in_force` notes why.
                rows := pg_catalog.concat_ws(' ', rows, SQLSTATE);
        END;
    END IF;
    RETURN pg_catalog.concat_ws(' ', subscriptions, tiers, profiles, rows,
        anon, pg_catalog.has_any_column_privilege(anon, subscriptions, 'insert, update'),
        authenticated, pg_catalog.has_any_column_privilege(authenticated, subscriptions, 'insert, update'));
END
$$;
