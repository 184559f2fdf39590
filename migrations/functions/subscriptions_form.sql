-- What `public.subscriptions` is:
--
--   absent  not there;
--   users   rows belong to a `user_id`, one for each Stripe subscription of the user;
--   pairs   subscriber and creator; rows in which both are the same user are those of the platform;
--   fans    the same columns, for fans of creators alone: what users have of the platform stands in `subscription_tiers`.
--
-- Columns do not tell the last two apart. If `subscription_tiers` has one row per Stripe subscription, the rows decide: the table
-- is used for the platform if it has platform rows with a Stripe id. Where users can write rows, only an id that Stripe has told
-- of counts. The form found when the table was prepared stays until the next takeover; a table that the gateway made is the
-- platform's.
CREATE OR REPLACE FUNCTION gateway.subscriptions_form() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
    standing record;
    used boolean;
BEGIN
    IF columns = '{}' THEN
        RETURN 'absent';
    ELSIF columns ? 'user_id' AND (NOT columns ?& ARRAY['subscriber_id', 'creator_id'] OR (
            SELECT a.attnotnull FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = pg_catalog.to_regclass('public.subscriptions') AND a.attname = 'user_id')) THEN
        RETURN 'users';
    END IF;
    SELECT p.mode, p.form, p.made INTO standing FROM gateway.projections p WHERE p.name = 'subscriptions';
    IF standing.mode = 'on' OR standing.made OR NOT columns ?& ARRAY['subscriber_id', 'creator_id', 'stripe_subscription_id'] THEN
        RETURN 'pairs';
    ELSIF standing.form IS NOT NULL THEN
        RETURN standing.form;
    ELSIF NOT gateway.columns_of('public.subscription_tiers')
            ?& ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status'] THEN
        RETURN 'pairs';
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM public.subscriptions t WHERE t.subscriber_id = t.creator_id AND '
        || CASE WHEN gateway.users_write('public.subscriptions')
                THEN 'EXISTS (SELECT FROM gateway.stripe_subscriptions s WHERE s.id = t.stripe_subscription_id COLLATE "C")'
                ELSE 't.stripe_subscription_id IS NOT NULL' END || ')' INTO used;
    RETURN CASE WHEN used THEN 'pairs' ELSE 'fans' END;
END
$$;
