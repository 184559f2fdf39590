-- Where rows have subscriber and creator, platform rows are those in which both are the same user. They get the `user_id` that readers
-- filter on; rows of a creator's subscribers keep it empty, so that a reader who expects one active row finds one.
CREATE OR REPLACE FUNCTION gateway.index_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    CREATE INDEX IF NOT EXISTS gateway_subscriptions_by_user ON public.subscriptions (user_id);
    CREATE INDEX IF NOT EXISTS gateway_subscriptions_by_stripe_id ON public.subscriptions (stripe_subscription_id);
    IF gateway.subscriptions_form() = 'users' THEN
        RETURN;
    END IF;
    IF EXISTS (
        SELECT FROM public.subscriptions s WHERE s.subscriber_id = s.creator_id
        GROUP BY s.subscriber_id HAVING pg_catalog.count(*) > 1
    ) THEN
        RAISE WARNING 'public.subscriptions has users with several platform rows'
            USING HINT = 'Readers that expect one row show such a user as free: merge the rows, then call '
                         'gateway.prepare_subscriptions() again.';
    ELSE
        CREATE UNIQUE INDEX IF NOT EXISTS gateway_subscriptions_platform_row
            ON public.subscriptions (subscriber_id) WHERE subscriber_id = creator_id;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute a
               JOIN pg_catalog.pg_attribute b ON b.attrelid = a.attrelid AND b.attname = 'subscriber_id'
               WHERE a.attrelid = 'public.subscriptions'::pg_catalog.regclass AND a.attname = 'user_id'
                 AND a.attgenerated = '' AND a.atttypid = b.atttypid) THEN
        -- Triggers of the table are not the gateway's and may name tables without their schema.
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
        UPDATE public.subscriptions SET user_id = subscriber_id
        WHERE subscriber_id = creator_id AND user_id IS NULL;
    END IF;
END
$$;
