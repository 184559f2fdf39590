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
