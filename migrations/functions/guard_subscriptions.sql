-- Only the service role and the owner write rows of the platform and Stripe ids; users read their own. The policies that forbid
-- are restrictive: they hold whatever the table's own policies allow. A trigger protects Stripe ids, because a policy does not
-- see the old row and users may go on changing rows that have an id. This function makes the trigger's function itself: as a
-- definition of its own it could not be replaced while the trigger uses it.
CREATE OR REPLACE FUNCTION gateway.guard_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    form text := gateway.subscriptions_form();
    open_to_users text := CASE form
        WHEN 'users' THEN 'false' ELSE 'user_id IS NULL AND creator_id IS DISTINCT FROM subscriber_id' END;
    command text;
BEGIN
    IF pg_catalog.to_regrole('authenticated') IS NULL OR pg_catalog.to_regrole('anon') IS NULL
       OR pg_catalog.to_regprocedure('auth.uid()') IS NULL THEN
        RETURN;
    END IF;
    IF form <> 'users' AND NOT gateway.is_guarded() THEN
        EXECUTE 'INSERT INTO gateway.doubtful_fans SELECT DISTINCT t.stripe_subscription_id FROM public.subscriptions t '
                'WHERE t.stripe_subscription_id IS NOT NULL AND t.creator_id <> t.subscriber_id ON CONFLICT DO NOTHING';
    END IF;
    EXECUTE $ddl$
        CREATE OR REPLACE FUNCTION gateway.keep_stripe_ids() RETURNS trigger
        LANGUAGE plpgsql SET search_path = ''
        AS $body$
        BEGIN
            IF TG_OP = 'INSERT' AND NEW.stripe_subscription_id IS NOT NULL
               OR TG_OP = 'UPDATE' AND NEW.stripe_subscription_id IS DISTINCT FROM OLD.stripe_subscription_id THEN
                RAISE EXCEPTION 'stripe_subscription_id is written by the service role alone'
                    USING ERRCODE = 'insufficient_privilege';
            END IF;
            RETURN NEW;
        END
        $body$
    $ddl$;
    REVOKE ALL ON FUNCTION gateway.keep_stripe_ids() FROM PUBLIC;
    DROP TRIGGER IF EXISTS gateway_keep_stripe_ids ON public.subscriptions;
    CREATE TRIGGER gateway_keep_stripe_ids BEFORE INSERT OR UPDATE ON public.subscriptions
        FOR EACH ROW WHEN (current_user IN ('anon', 'authenticated')) EXECUTE FUNCTION gateway.keep_stripe_ids();
    IF form = 'fans' THEN
        RETURN;
    END IF;
    IF NOT (SELECT c.relrowsecurity FROM pg_catalog.pg_class c
            WHERE c.oid = 'public.subscriptions'::pg_catalog.regclass) THEN
        RAISE NOTICE 'row level security of public.subscriptions is off: anyone with a key can write it'
            USING HINT = 'ALTER TABLE public.subscriptions ENABLE ROW LEVEL SECURITY; the policies are there.';
    END IF;
    DROP POLICY IF EXISTS gateway_read_own ON public.subscriptions;
    CREATE POLICY gateway_read_own ON public.subscriptions FOR SELECT TO authenticated
        USING (user_id::text = (SELECT auth.uid())::text);
    FOREACH command IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
        EXECUTE pg_catalog.format('DROP POLICY IF EXISTS gateway_platform_%s ON public.subscriptions', command);
        EXECUTE pg_catalog.format(
            'CREATE POLICY gateway_platform_%1$s ON public.subscriptions AS RESTRICTIVE FOR %1$s '
            'TO anon, authenticated %2$s',
            command,
            CASE command
                WHEN 'insert' THEN pg_catalog.format('WITH CHECK (%s)', open_to_users)
                WHEN 'update' THEN pg_catalog.format('USING (%1$s) WITH CHECK (%1$s)', open_to_users)
                ELSE pg_catalog.format('USING (%s)', open_to_users)
            END);
    END LOOP;
    GRANT SELECT ON public.subscriptions TO authenticated;
    IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.subscriptions TO service_role;
    END IF;
END
$$;
