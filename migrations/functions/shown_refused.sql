-- The query for users of whose access the rows of a public table say something else than was written: the table's name and the user.
-- Null where no trigger, rule or policy can leave out or put back what is written without an error. Other columns may be
-- put into another form there, which is nothing to wait for.
CREATE OR REPLACE FUNCTION gateway.shown_refused(name text, columns jsonb) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    id_type text := gateway.base_type(columns ->> gateway.user_column(name, columns));
    differs text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.nspname = 'gateway'
        WHERE c.oid = pg_catalog.to_regclass('public.' || name)
          AND (c.relhasrules OR c.relrowsecurity AND (c.relforcerowsecurity OR c.relowner <> n.nspowner) OR EXISTS (
              SELECT FROM pg_catalog.pg_trigger t
              WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3
                AND t.tgname <> 'gateway_keep_stripe_ids'))) THEN
        RETURN NULL;
    END IF;
    IF name = 'user_profiles' THEN
        differs := 'EXISTS (SELECT FROM public.user_profiles t WHERE t.id = a.u AND t.is_premium IS DISTINCT FROM a.entitles)';
    ELSE
        differs := pg_catalog.format(
            'coalesce(%s = ''active'', false) <> EXISTS (SELECT FROM public.%I t '
            'WHERE %s AND t.status::text IN (''active'', ''trialing'') OFFSET 0)',
            gateway.shown_status('{"active": "active"}', 'text'), name,
            CASE
                WHEN name = 'subscription_tiers' THEN
                    't.stripe_subscription_id = (a.subscription_id COLLATE pg_catalog."default") AND t.user_id = a.u'
                WHEN gateway.subscriptions_form() = 'users' THEN 't.user_id = a.u'
                ELSE 't.subscriber_id = a.u AND t.creator_id = t.subscriber_id' END);
    END IF;
    RETURN pg_catalog.format(
        'SELECT pg_catalog.array_agg(%L || a.user_id) FROM (SELECT x.*, %s AS u FROM gateway.user_access x '
        'WHERE x.user_id = ANY ($1) AND gateway.fits(x.user_id, %L) OFFSET 0) a WHERE %s',
        name || ' ', gateway.as_public(id_type), id_type, differs);
END
$$;
