-- Writes every projection that is on. Users that a table cannot take are left waiting; anything else is an error.
CREATE OR REPLACE FUNCTION gateway.show_now(users text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    subscriptions jsonb := gateway.projection('subscriptions');
    tiers jsonb := gateway.projection('subscription_tiers');
    profiles jsonb := gateway.projection('user_profiles');
    id_type text := coalesce(subscriptions ->> 'subscriber_id', tiers ->> 'user_id', profiles ->> 'id', 'text');
    missing text[];
    unfit text[];
BEGIN
    -- Triggers of these tables are not the gateway's and may name tables without their schema.
    IF EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (
            pg_catalog.to_regclass('public.subscriptions'), pg_catalog.to_regclass('public.subscription_tiers'),
            pg_catalog.to_regclass('public.user_profiles'))) THEN
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
    END IF;
    IF subscriptions IS NOT NULL THEN
        PERFORM gateway.show_subscriptions(users, subscriptions);
    END IF;
    IF tiers IS NOT NULL THEN
        PERFORM gateway.show_subscription_tiers(users, tiers);
    END IF;
    IF profiles IS NOT NULL THEN
        missing := gateway.show_user_profiles(users, profiles);
    END IF;
    UPDATE gateway.user_access a SET shown = true, attempts = 0, retry_at = NULL, fault = NULL
    WHERE a.user_id = ANY (users) AND NOT a.shown AND gateway.fits(a.user_id, id_type)
      AND NOT a.user_id = ANY (coalesce(missing, '{}'));
    -- A constraint or trigger that is put off to the commit would take the truth down with it.
    SET CONSTRAINTS ALL IMMEDIATE;
    IF missing <> '{}' THEN
        PERFORM gateway.wait_for(missing, 'the user has no row in public.user_profiles yet');
    END IF;
    unfit := ARRAY(SELECT u FROM pg_catalog.unnest(users) u WHERE NOT gateway.fits(u, id_type));
    IF unfit <> '{}' THEN
        PERFORM gateway.wait_for(unfit, 'the user''s id does not fit the type of the public tables');
    END IF;
END
$$;
