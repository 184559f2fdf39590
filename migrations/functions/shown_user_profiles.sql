-- How the flags of profiles are set, and, as the query `lacking`, the entitled users who have no profile yet.
CREATE OR REPLACE FUNCTION gateway.shown_user_profiles(columns jsonb, OUT statements text[], OUT lacking text)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    id_type text := gateway.base_type(columns ->> 'id');
    wanted text[] := ARRAY['is_premium', 'a.entitles', 'subscription_tier', 'a.tier', 'plan',
                           'CASE WHEN a.entitles THEN ''premium'' ELSE ''free'' END',
                           'stripe_customer_id', 'coalesce(a.customer_id, t.stripe_customer_id)'];
    names text[];
    given text[];
    source text := pg_catalog.format(
        '(SELECT x.*, %s AS u FROM gateway.user_access x '
        'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %L))', gateway.as_public(id_type), id_type);
BEGIN
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];
    statements := ARRAY[pg_catalog.format(
        'UPDATE public.user_profiles t SET %s FROM %s a WHERE t.id = a.u AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
         FROM pg_catalog.generate_subscripts(names, 1) i),
        source,
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', '))];
    lacking := pg_catalog.format(
        'SELECT pg_catalog.array_agg('' '' || a.user_id) FROM %s a WHERE a.entitles '
        'AND NOT EXISTS (SELECT FROM public.user_profiles t WHERE t.id = a.u)', source);
END
$$;
