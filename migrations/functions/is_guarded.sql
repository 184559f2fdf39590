-- Whether users are kept from putting a Stripe id into `public.subscriptions`: by the trigger, or because they may not write at
-- all.
CREATE OR REPLACE FUNCTION gateway.is_guarded() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
            SELECT FROM pg_catalog.pg_trigger t
            WHERE t.tgrelid = pg_catalog.to_regclass('public.subscriptions') AND t.tgname = 'gateway_keep_stripe_ids'
              AND t.tgenabled <> 'D')
        OR NOT gateway.users_write('public.subscriptions');
END
$$;
