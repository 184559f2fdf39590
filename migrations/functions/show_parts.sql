-- Shows one user whom the tables refuse, without those columns that only add to what a row says and that a constraint refuses. All
-- tables change together or none does. The user waits for what was left out, or for the whole, with the reason. Returns the code with
-- which the tables refused the whole, or null.
CREATE OR REPLACE FUNCTION gateway.show_parts(one text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    extra text[] := ARRAY['tier', 'tier_id', 'subscription_tier', 'plan', 'canceled_at', 'stripe_customer_id'];
    left_out jsonb := '{}';
    more jsonb;
    told text;
    code text;
    refused_by text;
    refused_in text;
BEGIN
    FOR attempt IN 0 .. 3 LOOP
        BEGIN
            PERFORM gateway.show_now(ARRAY[one], left_out => left_out);
            IF left_out <> '{}' THEN
                PERFORM gateway.wait_for(ARRAY[one], (
                    SELECT pg_catalog.string_agg('public.' || t.key || ' refuses the new '
                        || pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.jsonb_array_elements_text(t.value)), ', '),
                        '; ' ORDER BY t.key)
                    FROM pg_catalog.jsonb_each(left_out) t));
            END IF;
            RETURN NULL;
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                IF SQLSTATE ~ '^(53|57|58|XX00[12])' THEN
                    RAISE;
                END IF;
                code := SQLSTATE;
                GET STACKED DIAGNOSTICS refused_by = CONSTRAINT_NAME, refused_in = TABLE_NAME;
                -- The message of a constraint names the user; the code and the message's first words do not.
                told := coalesce(told, CASE
                    WHEN SQLSTATE IN ('55P03', '40P01') THEN 'a public table was locked'
                    ELSE 'refused with ' || SQLSTATE || ': ' || CASE
                        WHEN SQLSTATE LIKE '23%' THEN 'a constraint of the public tables'
                        WHEN SQLSTATE = 'GW002' THEN SQLERRM
                        ELSE 'a trigger or column of the public tables' END
                    END);
                SELECT pg_catalog.jsonb_build_object(refused_in, pg_catalog.jsonb_agg(a.attname ORDER BY a.attname)) INTO more
                FROM pg_catalog.pg_constraint c
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
                WHERE c.conrelid = pg_catalog.to_regclass('public.' || pg_catalog.quote_ident(refused_in))
                  AND c.conname = refused_by AND a.attname = ANY (extra)
                  AND NOT coalesce(left_out -> refused_in, '[]') ? a.attname
                HAVING pg_catalog.count(*) > 0;
        END;
        EXIT WHEN more IS NULL;
        SELECT pg_catalog.jsonb_object_agg(k, coalesce(left_out -> k, '[]') || coalesce(more -> k, '[]')) INTO left_out
        FROM pg_catalog.jsonb_object_keys(left_out || more) k;
    END LOOP;
    PERFORM gateway.wait_for(ARRAY[one], told);
    RETURN code;
END
$$;
