-- The form of the public tables under this stamp of `gateway.form_stamp`. When the stamp has changed, this works out the form and
-- makes `gateway.show_rows` from it: a function of its own, so that its statements are planned once a connection.
--
-- If the form cannot be worked out, it has a fault and `gateway.show_now` raises it. The truth is written all the same.
CREATE OR REPLACE FUNCTION gateway.form_in_force(present text) RETURNS gateway.shown_form
LANGUAGE plpgsql
AS $$
DECLARE
    form gateway.shown_form;
    how record;
    body text;
    path text;
BEGIN
    SELECT * INTO form FROM gateway.shown_form f WHERE f.only_row AND f.stamp = present;
    IF FOUND THEN
        RETURN form;
    END IF;
    -- Triggers of these tables are not the gateway's, and may name tables without their schema.
    path := CASE WHEN EXISTS (
            SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (
                pg_catalog.to_regclass('public.subscriptions'), pg_catalog.to_regclass('public.subscription_tiers'),
                pg_catalog.to_regclass('public.user_profiles')))
        THEN 'pg_catalog, public, extensions, pg_temp' ELSE '''''' END;
    form := ROW(true, present, 'text', gateway.columns_of('public.subscriptions')
        ?& ARRAY['subscriber_id', 'creator_id', 'stripe_subscription_id'], NULL, NULL);
    BEGIN
        -- Conditions of policies are read under a lock of their table.
        form.tells_fans := form.tells_fans AND gateway.is_guarded();
        SELECT * INTO how FROM gateway.shown('{}');
        IF form.tells_fans THEN
            PERFORM gateway.fan_subscriptions('{}', '{}');
        END IF;
        form.id_type := how.id_type;
        body := pg_catalog.concat('#variable_conflict use_column ', E'\n', '-- ', path, E'\nBEGIN\n',
            '$2 := (' || how.tiers || E');\n',
            (SELECT pg_catalog.string_agg(s || E';\n', '' ORDER BY n)
             FROM pg_catalog.unnest(how.statements) WITH ORDINALITY AS u (s, n)),
            -- A constraint or trigger that is deferred to the commit would take the truth down with it.
            E'SET CONSTRAINTS ALL IMMEDIATE;\nRETURN (', coalesce(how.lacking, 'NULL'), E');\nEND');
        IF body IS DISTINCT FROM (SELECT p.prosrc FROM pg_catalog.pg_proc p
                WHERE p.oid = pg_catalog.to_regprocedure('gateway.show_rows(text[], jsonb)')) THEN
            EXECUTE pg_catalog.format(
                'CREATE OR REPLACE FUNCTION gateway.show_rows(text[], jsonb DEFAULT NULL) RETURNS text[] '
                'LANGUAGE plpgsql SET search_path = %s AS %L', path, body);
            REVOKE ALL ON FUNCTION gateway.show_rows(text[], jsonb) FROM PUBLIC;
        END IF;
    EXCEPTION
        WHEN OTHERS THEN
            IF SQLSTATE ~ '^(40|53|57|58|XX)' THEN
                RAISE;
            END IF;
            form.fault_code := SQLSTATE;
            form.fault := SQLERRM;
            form.tells_fans := form.tells_fans AND SQLSTATE = '55P03';
    END;
    IF form.fault_code = '55P03' THEN
        -- A lock passes, and no catalogue tells of it: the form is worked out again next time.
        RETURN form;
    END IF;
    INSERT INTO gateway.shown_form AS f (only_row, stamp, id_type, tells_fans, fault_code, fault)
    SELECT form.*
    ON CONFLICT (only_row) DO UPDATE SET
        stamp = excluded.stamp, id_type = excluded.id_type, tells_fans = excluded.tells_fans,
        fault_code = excluded.fault_code, fault = excluded.fault;
    RETURN form;
END
$$;
