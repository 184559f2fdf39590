-- How the platform rows of `public.subscriptions` are written, where these have subscriber and creator: exactly one a user. Where tiers have
-- rows, the query `tiers` makes `$2`, the row of each tier.
CREATE OR REPLACE FUNCTION gateway.shown_subscriptions(columns jsonb, OUT statements text[], OUT tiers text)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    id_type text := gateway.base_type(columns ->> 'subscriber_id');
    words jsonb := gateway.status_words('public.subscriptions', ARRAY['canceled', 'cancelled']);
    status text := gateway.shown_status(words, columns ->> 'status');
    catalogue jsonb := gateway.columns_of('public.subscription_tiers');
    -- Column and the expression it takes, over `a`, what the user has.
    wanted text[] := ARRAY[
        'user_id', 'a.u', 'status', status, 'tier', 'a.tier', 'stripe_subscription_id', 'a.subscription_id',
        'stripe_customer_id', 'a.customer_id', 'current_period_start', 'a.current_period_start',
        'current_period_end', 'a.current_period_end', 'canceled_at', 'a.canceled_at'];
    names text[];
    given text[];
    -- What the users have, with the id in the table's type and, where tiers have rows, the row of the tier.
    source text := 'SELECT x.*, %1$s AS u %2$s FROM gateway.user_access x '
                   'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %3$L)';
    plain text := pg_catalog.format(source, gateway.as_public(id_type), '', id_type);
    ref text := CASE
        WHEN columns ->> 'tier_id' IS DISTINCT FROM catalogue ->> 'id' THEN NULL
        WHEN catalogue ?& ARRAY['creator_id', 'name', 'price'] AND catalogue ->> 'id' = 'uuid'
            THEN 'CASE WHEN x.entitles THEN ($2 ->> x.tier)::uuid END'
        WHEN catalogue ? 'stripe_subscription_id' THEN '(SELECT r.id FROM public.subscription_tiers r '
            'WHERE r.stripe_subscription_id = (x.subscription_id COLLATE pg_catalog."default"))' END;
    -- The same with the place of each user's row. Every condition on that row is within an outer join, which fixes what is
    -- looked up by what; an UPDATE's own join could be turned round, since the planner takes platform rows for a handful.
    placed text := '(SELECT a.*, p.tableoid AS part, p.ctid AS place FROM (%s) a LEFT JOIN public.subscriptions p '
                   'ON p.subscriber_id = a.u AND p.creator_id = p.subscriber_id OFFSET 0) a '
                   'WHERE t.ctid = a.place AND t.tableoid = a.part AND t.subscriber_id IS NOT DISTINCT FROM a.u '
                   'AND t.creator_id IS NOT DISTINCT FROM a.u';
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    IF ref LIKE '%$2%' THEN
        -- Once a tier, not once a user.
        tiers := pg_catalog.format(
            'SELECT pg_catalog.jsonb_object_agg(t.tier, coalesce((SELECT c.id FROM public.subscription_tiers c '
            'WHERE c.creator_id IS NULL AND pg_catalog.lower(c.name) = t.tier ORDER BY c.id LIMIT 1), '
            'gateway.platform_tier(t.tier, t.subscription))) FROM ('
            'SELECT a.tier, pg_catalog.min(a.subscription_id) AS subscription FROM gateway.user_access a '
            'WHERE a.user_id = ANY ($1) AND a.entitles AND gateway.fits(a.user_id, %L) GROUP BY 1) t', id_type);
    END IF;
    IF ref IS NOT NULL THEN
        source := pg_catalog.format(source, gateway.as_public(id_type), ', ' || ref || ' AS ref', id_type);
        wanted := wanted || ARRAY['tier_id', 'a.ref'];
    ELSE
        source := plain;
        IF columns ->> 'tier_id' = 'text' THEN
            wanted := wanted || ARRAY['tier_id', 'a.tier'];
        END IF;
    END IF;
    SELECT pg_catalog.array_agg(wanted[i]), pg_catalog.array_agg(wanted[i + 1]) INTO names, given
    FROM pg_catalog.generate_series(1, pg_catalog.cardinality(wanted), 2) i WHERE columns ? wanted[i];

    statements := ARRAY[
        -- An id that moves from one user's row to another's is taken away first.
        pg_catalog.format(
            'UPDATE public.subscriptions t SET stripe_subscription_id = NULL FROM %s AND t.stripe_subscription_id IS NOT NULL',
            pg_catalog.format(placed, plain || ' AND x.subscription_id IS NULL')),
        gateway.shown_release(id_type, 'p.subscriber_id = a.u AND p.creator_id = a.u', ''),
        pg_catalog.format(
            'INSERT INTO public.subscriptions (subscriber_id, creator_id, %s) SELECT a.u, a.u, %s FROM (%s) a '
            'WHERE (SELECT true FROM public.subscriptions t WHERE t.subscriber_id = a.u AND t.creator_id = t.subscriber_id LIMIT 1) '
            'IS NULL',
            (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(n), ', ') FROM pg_catalog.unnest(names) n),
            pg_catalog.array_to_string(given, ', '), source)];
    -- The catalogue's row of a tier stays when the user has nothing any more, as counters of the table expect. These count
    -- rows that become active or cease to be, so that one whose tier changes ceases first.
    given := pg_catalog.array_replace(given, 'a.ref', 'coalesce(a.ref, t.tier_id)');
    IF ref IS NOT NULL AND columns ? 'tier_id' AND EXISTS (
            SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = 'public.subscriptions'::pg_catalog.regclass
            AND NOT g.tgisinternal AND g.tgenabled <> 'D') THEN
        statements := statements || pg_catalog.format(
            'UPDATE public.subscriptions t SET status = %L FROM %s AND t.status = %L AND %s = %L '
            'AND t.tier_id IS DISTINCT FROM coalesce(a.ref, t.tier_id)',
            words ->> 'canceled', pg_catalog.format(placed, source), words ->> 'active', status, words ->> 'active');
    END IF;
    statements := statements || pg_catalog.format(
        'UPDATE public.subscriptions t SET %s %s FROM %s AND ROW(%s) IS DISTINCT FROM ROW(%s)',
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I = %s', names[i], given[i]), ', ')
         FROM pg_catalog.generate_subscripts(names, 1) i),
        stamp, pg_catalog.format(placed, source),
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        pg_catalog.array_to_string(given, ', '));
END
$$;
