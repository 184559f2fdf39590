-- The statement that takes Stripe ids that users have from rows that are not theirs, as an id may stand only once: from the user who
-- had it before, and from one who wrote it into a row of their own. `own` says which row `p` of the table is that of `a`. A row is
-- found by `part` and `place`: in a partitioned table, one place is that of a row in each partition.
CREATE OR REPLACE FUNCTION gateway.shown_release(id_type text, own text, canceled text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN pg_catalog.format(
        'UPDATE public.subscriptions t SET stripe_subscription_id = NULL %s FROM ('
        'SELECT p.part, p.place FROM (SELECT x.subscription_id, %s AS u FROM gateway.user_access x '
        'WHERE x.user_id = ANY ($1) AND x.subscription_id IS NOT NULL AND gateway.fits(x.user_id, %L) OFFSET 0) a '
        'CROSS JOIN LATERAL (SELECT p.tableoid AS part, p.ctid AS place FROM public.subscriptions p '
        'WHERE p.stripe_subscription_id = (a.subscription_id COLLATE pg_catalog."default") AND (%s) IS NOT TRUE OFFSET 0) p'
        ') a WHERE t.ctid = a.place AND t.tableoid = a.part',
        canceled, gateway.as_public(id_type), id_type, own);
END
$$;
