-- Writes every projection that is on, in the order in which rows may point to others. Users that a table cannot take are left
-- waiting; anything else is an error. `left_out` names columns by table that are not written.
CREATE OR REPLACE FUNCTION gateway.show_now(users text[], left_out jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    wanted record;
    id_type text;
    missing text[];
    lacking text[] := '{}';
    unfit text[];
BEGIN
    -- Triggers of these tables are not the gateway's and may name tables without their schema.
    IF EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (
            pg_catalog.to_regclass('public.subscriptions'), pg_catalog.to_regclass('public.subscription_tiers'),
            pg_catalog.to_regclass('public.user_profiles'))) THEN
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
    END IF;
    FOR wanted IN
        SELECT p.name, p.columns
        FROM (VALUES ('subscription_tiers', gateway.projection('subscription_tiers')),
            ('subscriptions', gateway.projection('subscriptions')),
            ('user_profiles', gateway.projection('user_profiles'))) AS p (name, columns)
        WHERE p.columns IS NOT NULL
    LOOP
        id_type := coalesce(id_type, wanted.columns ->> gateway.user_column(wanted.name, wanted.columns));
        missing := gateway.show_one_table(wanted.name, users, wanted.columns
            - ARRAY(SELECT pg_catalog.jsonb_array_elements_text(coalesce(left_out -> wanted.name, '[]'))));
        lacking := lacking || coalesce(missing, '{}');
    END LOOP;
    id_type := coalesce(id_type, 'text');
    UPDATE gateway.user_access a SET shown = true, attempts = 0, retry_at = NULL, fault = NULL
    WHERE a.user_id = ANY (ARRAY(SELECT pg_catalog.unnest(users) EXCEPT SELECT pg_catalog.unnest(lacking)))
      AND NOT a.shown AND gateway.fits(a.user_id, id_type);
    -- A constraint or trigger that is put off to the commit would take the truth down with it.
    SET CONSTRAINTS ALL IMMEDIATE;
    IF lacking <> '{}' THEN
        PERFORM gateway.wait_for(lacking, 'the user has no row in public.user_profiles yet');
    END IF;
    unfit := ARRAY(SELECT u FROM pg_catalog.unnest(users) u WHERE NOT gateway.fits(u, id_type));
    IF unfit <> '{}' THEN
        PERFORM gateway.wait_for(unfit, 'the user''s id does not fit the type of the public tables');
    END IF;
END
$$;
