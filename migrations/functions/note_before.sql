-- Notes what `gateway.give_back` will need: the fields of users' rows in the public tables that the gateway is about to write,
-- and the access that users have now. A row is noted under its id, one of `subscription_tiers` under Stripe's id.
CREATE OR REPLACE FUNCTION gateway.note_before() RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    place record;
    columns jsonb;
BEGIN
    DELETE FROM gateway.rows_before;
    DELETE FROM gateway.access_before;
    FOR place IN
        SELECT * FROM (VALUES
            ('subscriptions', 'id', ARRAY['user_id', 'status', 'tier', 'tier_id', 'stripe_subscription_id'],
                't.stripe_subscription_id IS NOT NULL'),
            ('subscription_tiers', 'stripe_subscription_id', ARRAY['user_id', 'status', 'tier_name'],
                't.stripe_subscription_id IS NOT NULL'),
            ('user_profiles', 'id', ARRAY['is_premium', 'plan', 'subscription_tier'],
                't.is_premium OR t.id::text IN (SELECT a.user_id FROM gateway.user_access a)')
        ) AS p (relation, key, fields, condition)
    LOOP
        columns := gateway.projection(place.relation);
        CONTINUE WHEN columns IS NULL OR NOT columns ? place.key;
        IF columns ?& ARRAY['subscriber_id', 'creator_id'] THEN
            place.condition := place.condition || ' OR t.subscriber_id = t.creator_id';
        ELSIF place.relation = 'subscriptions' THEN
            place.condition := 'true';
        END IF;
        EXECUTE pg_catalog.format(
            'INSERT INTO gateway.rows_before (relation, place, user_id, fields) '
            'SELECT %L, t.%I::text, t.%I::text, pg_catalog.jsonb_build_object(%s) FROM public.%I t WHERE %s',
            place.relation, place.key, gateway.user_column(place.relation, columns),
            (SELECT pg_catalog.string_agg(pg_catalog.format('%1$L, t.%1$I', f), ', ')
             FROM pg_catalog.unnest(place.fields) f WHERE columns ? f),
            place.relation, place.condition);
    END LOOP;
    INSERT INTO gateway.access_before
    SELECT a.user_id, a.subscription_id, a.status, a.tier, a.entitles FROM gateway.user_access a;
    -- The catalogue's rows for the platform's tiers, so that the way back can tell those made later.
    columns := gateway.columns_of('public.subscription_tiers');
    IF columns ?& ARRAY['id', 'creator_id', 'name', 'price'] THEN
        INSERT INTO gateway.rows_before (relation, place, fields)
        SELECT 'catalogue', t.id::text, '{}' FROM public.subscription_tiers t WHERE t.creator_id IS NULL;
    END IF;
END
$$;
