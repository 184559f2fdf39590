-- How `public.subscription_tiers` is written in its second meaning: one row per Stripe subscription, `cancelled` with two l. A row of
-- these users whose subscription is another's by now, or nobody's, gives no access any more.
CREATE OR REPLACE FUNCTION gateway.shown_subscription_tiers(columns jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    words jsonb := gateway.status_words('public.subscription_tiers', ARRAY['cancelled', 'canceled']);
    wanted text[] := ARRAY[
        'user_id', 'a.u', 'tier_name', 'coalesce(a.tier, ''premium'')',
        'status', gateway.shown_status(words, columns ->> 'status'),
        'current_period_start', 'coalesce(a.current_period_start, a.started_at, a.created, pg_catalog.to_timestamp(0))',
        'current_period_end', 'coalesce(a.current_period_end, a.ended_at, a.current_period_start, a.started_at, a.created, '
                              'pg_catalog.to_timestamp(0))',
        'stripe_customer_id', 'a.customer_id'];
    id_type text := gateway.base_type(columns ->> 'user_id');
    names text[];
    given text[];
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];
    RETURN ARRAY[
    pg_catalog.format(
        'INSERT INTO public.subscription_tiers AS t (stripe_subscription_id, %1$s) SELECT a.id, %2$s FROM ('
        'SELECT s.*, %3$s AS u, g.projected_status AS status, g.entitles, g.tier FROM gateway.subscriptions_of($1) x '
        'CROSS JOIN LATERAL (SELECT s.id, s.customer_id, s.current_period_start, s.current_period_end, s.started_at, '
        's.created, s.ended_at FROM gateway.stripe_subscriptions s WHERE s.id = (x.id COLLATE "C") OFFSET 0) s '
        'CROSS JOIN LATERAL (SELECT g.projected_status, g.entitles, g.tier FROM gateway.subscription_grants g '
        'WHERE g.id = s.id OFFSET 0) g '
        'WHERE g.projected_status IS NOT NULL AND gateway.fits(x.user_id, %4$L) OFFSET 0) a '
        'ON CONFLICT (stripe_subscription_id) DO UPDATE SET %5$s %6$s WHERE ROW(%7$s) IS DISTINCT FROM ROW(%8$s)',
        (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', '), gateway.as_public(id_type), id_type,
        (SELECT pg_catalog.string_agg(pg_catalog.format('%1$I = excluded.%1$I', n), ', ') FROM pg_catalog.unnest(names) n),
        stamp,
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        (SELECT pg_catalog.string_agg(pg_catalog.format('excluded.%I', n), ', ') FROM pg_catalog.unnest(names) n)),
    -- The table is read once, for it has no index by user; its rows find users and owners in objects, by halving.
    pg_catalog.format(
        'WITH users AS MATERIALIZED (SELECT pg_catalog.jsonb_object_agg((%3$s)::text, x.user_id) AS of_ids '
        'FROM pg_catalog.unnest($1) AS x (user_id) WHERE gateway.fits(x.user_id, %4$L)), '
        'active AS MATERIALIZED (SELECT r.tableoid AS part, r.ctid AS place, r.stripe_subscription_id::text AS id, '
        '(SELECT u.of_ids FROM users u) ->> r.user_id::text AS user_id FROM public.subscription_tiers r '
        'WHERE r.status::text IN (''active'', ''trialing'') AND (SELECT u.of_ids FROM users u) ? r.user_id::text), '
        'owned AS MATERIALIZED (SELECT pg_catalog.jsonb_object_agg(o.id, o.user_id) AS by '
        'FROM gateway.owners(ARRAY(SELECT r.id FROM active r)) o) '
        'UPDATE public.subscription_tiers t SET status = %1$L %2$s FROM ('
        'SELECT r.part, r.place FROM active r WHERE EXISTS (SELECT FROM gateway.stripe_subscriptions s '
        'WHERE s.id = (r.id COLLATE "C") OFFSET 0) '
        'AND (SELECT o.by FROM owned o) ->> r.id IS DISTINCT FROM r.user_id OFFSET 0) a '
        'WHERE t.ctid = a.place AND t.tableoid = a.part',
        words ->> 'canceled', stamp, gateway.as_public(id_type), id_type)];
END
$$;
