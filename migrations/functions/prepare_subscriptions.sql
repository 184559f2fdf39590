-- Makes or completes `public.subscriptions`, the table that legacy readers query, unless its projection is off or another system
-- keeps it (shadow mode). `migrate` runs this when it changes.
--
-- A table that is already there, of whatever generation, only gets columns, indexes, restrictive policies and a trigger. Nothing
-- is dropped, renamed or retyped. A table that is not used for the platform only gets the guard of its Stripe ids. Without
-- Supabase's roles, the policies that need them are left out.
CREATE OR REPLACE FUNCTION gateway.prepare_subscriptions() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    relation pg_catalog.oid := pg_catalog.to_regclass('public.subscriptions');
    found text;
    tiers text;
BEGIN
    IF gateway.is_shadow() OR (SELECT p.mode FROM gateway.projections p WHERE p.name = 'subscriptions') = 'off' THEN
        RETURN;
    END IF;
    found := gateway.subscriptions_form();
    UPDATE gateway.projections p SET
        form = CASE found WHEN 'users' THEN NULL WHEN 'absent' THEN 'pairs' ELSE found END, made = p.made OR found = 'absent'
    WHERE p.name = 'subscriptions';
    IF relation IS NULL THEN
        -- If tiers have a table, the tier is a reference to it, so that readers can embed it.
        SELECT pg_catalog.format_type(a.atttypid, NULL) || ' REFERENCES public.subscription_tiers (id) ON DELETE SET NULL'
        INTO tiers
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = 'id' AND NOT a.attisdropped
        WHERE i.indrelid = pg_catalog.to_regclass('public.subscription_tiers') AND i.indisunique
          AND i.indpred IS NULL AND i.indnatts = 1 AND i.indkey[0] = a.attnum LIMIT 1;
        EXECUTE pg_catalog.format($ddl$
            CREATE TABLE public.subscriptions (
                id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
                user_id %1$s,
                subscriber_id %1$s,
                creator_id %1$s,
                tier_id %2$s,
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
            )$ddl$, gateway.user_id_type(), coalesce(tiers, 'text'));
        ALTER TABLE public.subscriptions ENABLE ROW LEVEL SECURITY;
    ELSIF (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = relation) NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'public.subscriptions is not a table'
            USING HINT = 'Rename it, or keep it and switch this projection off: UPDATE gateway.projections SET mode = ''off'' '
                         'WHERE name = ''subscriptions''.';
    ELSIF found = 'fans' THEN
        PERFORM gateway.guard_subscriptions();
        RETURN;
    ELSE
        IF found = 'pairs' THEN
            EXECUTE pg_catalog.format(
                'ALTER TABLE public.subscriptions ADD COLUMN IF NOT EXISTS user_id %1$s, '
                'ADD COLUMN IF NOT EXISTS subscriber_id %1$s, ADD COLUMN IF NOT EXISTS creator_id %1$s',
                gateway.user_id_type());
        END IF;
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
