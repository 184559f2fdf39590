-- How `public.subscriptions` is written where rows belong to a `user_id`, one for each Stripe subscription: the row of the user's best
-- subscription says what the user has, and no other row of the user is active. Readers expect one active row.
CREATE OR REPLACE FUNCTION gateway.shown_user_rows(columns jsonb) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    id_type text := gateway.base_type(columns ->> 'user_id');
    words jsonb := gateway.status_words('public.subscriptions', ARRAY['canceled', 'cancelled']);
    wanted text[] := ARRAY[
        'status', gateway.shown_status(words, columns ->> 'status'), 'tier', 'a.tier',
        'stripe_customer_id', 'a.customer_id', 'current_period_start', 'a.current_period_start',
        'current_period_end', 'a.current_period_end', 'canceled_at', 'a.canceled_at'];
    ended text := pg_catalog.format(
        'status = CASE WHEN t.status::text IN (''active'', ''trialing'') THEN %L::%s ELSE t.status END',
        words ->> 'canceled', columns ->> 'status');
    names text[];
    given text[];
    -- What the users have, with the place of the row of their best subscription.
    source text := pg_catalog.format(
        '(SELECT a.*, p.tableoid AS part, p.ctid AS place FROM (SELECT x.*, %s AS u FROM gateway.user_access x '
        'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %L) OFFSET 0) a LEFT JOIN LATERAL ('
        'SELECT p.tableoid, p.ctid FROM public.subscriptions p '
        'WHERE p.stripe_subscription_id = (a.subscription_id COLLATE pg_catalog."default") AND p.user_id = a.u OFFSET 0) p '
        'ON true) a',
        gateway.as_public(id_type), id_type);
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];
    RETURN ARRAY[
        gateway.shown_release(id_type, 'p.user_id = a.u', ', ' || ended),
        pg_catalog.format(
            'UPDATE public.subscriptions t SET %s %s FROM (SELECT o.part, o.place FROM %s CROSS JOIN LATERAL ('
            'SELECT o.tableoid AS part, o.ctid AS place FROM public.subscriptions o WHERE o.user_id = a.u '
            'AND (o.tableoid, o.ctid) IS DISTINCT FROM (a.part, a.place) AND o.status::text IN (''active'', ''trialing'') OFFSET 0) o'
            ') a WHERE t.ctid = a.place AND t.tableoid = a.part',
            ended, stamp, source),
        pg_catalog.format(
            'UPDATE public.subscriptions t SET %s %s FROM %s WHERE t.ctid = a.place AND t.tableoid = a.part '
            'AND ROW(%s) IS DISTINCT FROM ROW(%s)',
            (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
             FROM pg_catalog.generate_subscripts(names, 1) i),
            stamp, source,
            (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
            pg_catalog.array_to_string(given, ', ')),
        pg_catalog.format(
            'INSERT INTO public.subscriptions (user_id, stripe_subscription_id, %s) SELECT a.u, a.subscription_id, %s FROM %s '
            'WHERE a.place IS NULL AND a.subscription_id IS NOT NULL',
            (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n), ', ') FROM pg_catalog.unnest(names) n),
            pg_catalog.array_to_string(given, ', '), source)];
END
$$;
