-- The public table that legacy readers ask, and what the projections need of tables that are already there.
--
-- Additive: creates `public.subscriptions` where it is missing; where it is there, of whatever generation, only adds
-- columns, indexes and restrictive policies. Nothing is dropped, renamed or retyped. Without Supabase's roles the
-- policies that need them are left out.

-- The type of user identifiers here: that of the tables that are already there, else text.
CREATE OR REPLACE FUNCTION gateway.user_id_type() RETURNS text
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce((
        SELECT pg_catalog.format_type(a.atttypid, NULL)
        FROM (VALUES (1, 'public.subscriptions', 'subscriber_id'), (2, 'public.subscriptions', 'user_id'),
                     (3, 'public.user_profiles', 'id'), (4, 'public.users', 'id'), (5, 'auth.users', 'id')
        ) AS known (rank, relation, attribute)
        JOIN pg_catalog.pg_attribute a
          ON a.attrelid = pg_catalog.to_regclass(known.relation) AND a.attname = known.attribute
         AND NOT a.attisdropped
        ORDER BY known.rank LIMIT 1
    ), 'text')
$$;

-- Makes or completes `public.subscriptions`, unless its projection is off.
CREATE OR REPLACE FUNCTION gateway.prepare_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    relation pg_catalog.oid := pg_catalog.to_regclass('public.subscriptions');
BEGIN
    IF (SELECT p.mode FROM gateway.projections p WHERE p.name = 'subscriptions') = 'off' THEN
        RETURN;
    END IF;
    IF relation IS NULL THEN
        EXECUTE pg_catalog.format($ddl$
            CREATE TABLE public.subscriptions (
                id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
                user_id %1$s,
                subscriber_id %1$s,
                creator_id %1$s,
                tier_id text,
                tier text,
                status text NOT NULL CHECK (status IN ('active', 'canceled', 'past_due', 'paused', 'expired')),
                stripe_subscription_id text UNIQUE,
                stripe_customer_id text,
                current_period_start timestamptz,
                current_period_end timestamptz,
                canceled_at timestamptz,
                created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
                updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
                UNIQUE (subscriber_id, creator_id)
            )$ddl$, gateway.user_id_type());
        ALTER TABLE public.subscriptions ENABLE ROW LEVEL SECURITY;
    ELSIF (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = relation) NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'public.subscriptions is not a table'
            USING HINT = 'Rename it, or keep it: UPDATE gateway.projections SET mode = ''off'' '
                         'WHERE name = ''subscriptions''.';
    ELSE
        EXECUTE pg_catalog.format(
            'ALTER TABLE public.subscriptions ADD COLUMN IF NOT EXISTS user_id %1$s, '
            'ADD COLUMN IF NOT EXISTS subscriber_id %1$s, ADD COLUMN IF NOT EXISTS creator_id %1$s',
            gateway.user_id_type());
        ALTER TABLE public.subscriptions
            ADD COLUMN IF NOT EXISTS status text,
            ADD COLUMN IF NOT EXISTS tier text,
            ADD COLUMN IF NOT EXISTS stripe_subscription_id text,
            ADD COLUMN IF NOT EXISTS stripe_customer_id text,
            ADD COLUMN IF NOT EXISTS current_period_start timestamptz,
            ADD COLUMN IF NOT EXISTS current_period_end timestamptz,
            ADD COLUMN IF NOT EXISTS canceled_at timestamptz,
            ADD COLUMN IF NOT EXISTS updated_at timestamptz DEFAULT pg_catalog.now();
    END IF;
    PERFORM gateway.index_subscriptions();
    PERFORM gateway.guard_subscriptions();
END
$$;

-- Platform rows are those in which subscriber and creator are the same user. They get the `user_id` that readers
-- filter on; rows of a creator's subscribers keep it empty, so that a reader who expects one active row finds one.
CREATE OR REPLACE FUNCTION gateway.index_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    CREATE INDEX IF NOT EXISTS gateway_subscriptions_by_user ON public.subscriptions (user_id);
    CREATE INDEX IF NOT EXISTS gateway_subscriptions_by_stripe_id ON public.subscriptions (stripe_subscription_id);
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

-- Only the service role and the owner write platform rows; users read their own. The policies that forbid are
-- restrictive: they hold whatever the table's own policies allow.
CREATE OR REPLACE FUNCTION gateway.guard_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    command text;
BEGIN
    IF pg_catalog.to_regrole('authenticated') IS NULL OR pg_catalog.to_regrole('anon') IS NULL
       OR pg_catalog.to_regprocedure('auth.uid()') IS NULL THEN
        RETURN;
    END IF;
    IF NOT (SELECT c.relrowsecurity FROM pg_catalog.pg_class c
            WHERE c.oid = 'public.subscriptions'::pg_catalog.regclass) THEN
        RAISE WARNING 'row level security of public.subscriptions is off: anyone with a key can write it'
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
                WHEN 'insert' THEN 'WITH CHECK (user_id IS NULL AND creator_id IS DISTINCT FROM subscriber_id)'
                WHEN 'update' THEN 'USING (user_id IS NULL AND creator_id IS DISTINCT FROM subscriber_id) '
                                   'WITH CHECK (user_id IS NULL AND creator_id IS DISTINCT FROM subscriber_id)'
                ELSE 'USING (user_id IS NULL AND creator_id IS DISTINCT FROM subscriber_id)'
            END);
    END LOOP;
    GRANT SELECT ON public.subscriptions TO authenticated;
    IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON public.subscriptions TO service_role;
    END IF;
END
$$;

SELECT gateway.prepare_subscriptions();

INSERT INTO gateway.migrations (version, name) VALUES (20260101000100, 'gateway_projections')
ON CONFLICT (version) DO NOTHING;
