-- Policies that let users read or write more of the public tables than they should, with a remedy for each. The gateway itself
-- changes no existing policy.
CREATE OR REPLACE FUNCTION gateway.weak_policies()
RETURNS TABLE (relation text, policy text, problem text, remedy text)
LANGUAGE sql STABLE SET search_path = ''
AS $$
    WITH kept AS (
        SELECT c.oid, c.relname::text AS name, c.relrowsecurity AS guarded, v.says, v.flags
        FROM (VALUES
            ('subscriptions', ARRAY['stripe_subscription_id', 'status'], '{}'::text[]),
            ('subscription_tiers', ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status'], '{}'),
            ('user_profiles', ARRAY['id', 'is_premium'], ARRAY['is_premium', 'plan', 'subscription_tier', 'stripe_customer_id'])
        ) AS v (name, says, flags)
        JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass('public.' || v.name)
        WHERE gateway.columns_of('public.' || v.name) ?& v.says
          AND pg_catalog.to_regrole('anon') IS NOT NULL AND pg_catalog.to_regrole('authenticated') IS NOT NULL
    ), rights AS (
        SELECT k.*, p.name AS policy, p.command, p.reads,
            pg_catalog.has_table_privilege('anon', k.oid, 'select')
                OR pg_catalog.has_table_privilege('authenticated', k.oid, 'select') AS may_read
        FROM kept k CROSS JOIN LATERAL (
            SELECT u.policy AS name, u.command, u.reads FROM gateway.user_policies('public.' || k.name) u) p
        WHERE k.guarded
    )
    SELECT k.name, NULL::text, 'row level security is off: anyone with a key reads and writes every row',
        pg_catalog.format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY;', k.name)
    FROM kept k
    WHERE NOT k.guarded AND (pg_catalog.has_any_column_privilege('anon', k.oid, 'select, insert, update')
        OR pg_catalog.has_any_column_privilege('authenticated', k.oid, 'select, insert, update'))
    UNION ALL
    SELECT r.name, r.policy::text, 'lets everybody read all rows',
        pg_catalog.format('ALTER POLICY %I ON public.%I TO service_role;', r.policy, r.name)
    FROM rights r
    WHERE r.name <> 'user_profiles' AND r.command IN ('select', 'all') AND r.may_read AND pg_catalog.btrim(r.reads, '() ') = 'true'
    UNION ALL
    SELECT r.name, r.policy::text, 'lets users write rows that say what they have paid for',
        pg_catalog.format('DROP POLICY %I ON public.%I;', r.policy, r.name)
    FROM rights r
    WHERE r.name = 'subscription_tiers' AND r.command IN ('insert', 'update', 'all') AND pg_catalog.btrim(r.reads, '() ') IS DISTINCT FROM 'true'
      AND pg_catalog.has_any_column_privilege('authenticated', r.oid, 'insert, update')
    UNION ALL
    SELECT r.name, r.policy::text,
        'lets users ' || pg_catalog.string_agg(w.word, ' or ' ORDER BY w.word) || ' their own is_premium',
        pg_catalog.format(
            'REVOKE %1$s ON public.user_profiles FROM anon, authenticated; GRANT %2$s ON public.user_profiles TO authenticated;',
            pg_catalog.string_agg(w.command, ', ' ORDER BY w.word),
            pg_catalog.string_agg(w.command || ' (' || (
                SELECT pg_catalog.string_agg(pg_catalog.quote_ident(c), ', ' ORDER BY c)
                FROM pg_catalog.jsonb_object_keys(gateway.columns_of('public.user_profiles')) c WHERE c <> ALL (r.flags)) || ')',
                ', ' ORDER BY w.word))
    FROM rights r
    JOIN (VALUES ('insert', 'INSERT', 4, 'set'), ('update', 'UPDATE', 16, 'change')) AS w (name, command, bit, word)
        ON r.command IN (w.name, 'all')
    WHERE r.name = 'user_profiles'
      AND (pg_catalog.has_column_privilege('anon', r.oid, 'is_premium', w.name)
          OR pg_catalog.has_column_privilege('authenticated', r.oid, 'is_premium', w.name))
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid
          WHERE t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 2 = 2
            AND t.tgtype::integer & w.bit = w.bit AND f.prosrc ~ 'is_premium')
    GROUP BY r.name, r.policy, r.flags
$$;
