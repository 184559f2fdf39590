-- The way back from a takeover: removes the rows that the gateway made and restores those that it replaced. A user whose access
-- has changed since keeps the present access in a table that the other system wrote before, because that system will go on
-- writing it. In other tables such a row would be left without a writer, so it goes. The answer lists what is not undone.
CREATE OR REPLACE FUNCTION gateway.give_back() RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    changed text[] := ARRAY(
        SELECT a.user_id FROM gateway.user_access a LEFT JOIN gateway.access_before b ON b.user_id = a.user_id
        WHERE (a.subscription_id, a.status, a.tier, a.entitles)
            IS DISTINCT FROM (b.subscription_id, b.status, b.tier, b.entitles) ORDER BY 1);
    counts jsonb := '{"removed": 0, "restored": 0}';
    left_over text[] := '{}';
    place record;
    keeps boolean;
    kept boolean := false;
    number bigint;
BEGIN
    -- Triggers of these tables are not the gateway's, and may name tables without their schema.
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
    FOR place IN
        SELECT * FROM (VALUES ('subscriptions', 'id'), ('subscription_tiers', 'stripe_subscription_id'), ('user_profiles', 'id'))
            AS p (relation, key)
    LOOP
        CONTINUE WHEN gateway.projection(place.relation) IS NULL;
        keeps := EXISTS (
            SELECT FROM gateway.rows_before b WHERE b.relation = place.relation
            AND (place.relation = 'user_profiles' AND (b.fields ->> 'is_premium')::boolean
                OR place.relation <> 'user_profiles' AND coalesce(b.fields ->> 'stripe_subscription_id', b.place) IS NOT NULL));
        kept := kept OR keeps;
        BEGIN
            counts := gateway.give_back_rows(
                place.relation, place.key, CASE WHEN keeps THEN changed ELSE '{}'::text[] END, counts);
        EXCEPTION
            WHEN OTHERS OR assert_failure THEN
                IF SQLSTATE ~ '^(40|53|55|57|58|XX00[12])' THEN
                    RAISE;
                END IF;
                left_over := left_over || pg_catalog.format(
                    'public.%s stays as it is: a constraint or trigger refused its former rows (%s)', place.relation, SQLSTATE);
        END;
    END LOOP;
    IF gateway.columns_of('public.subscription_tiers') ?& ARRAY['id', 'creator_id', 'name', 'price']
       AND gateway.columns_of('public.subscriptions') ? 'tier_id' THEN
        DELETE FROM public.subscription_tiers t
        WHERE t.creator_id IS NULL
          AND NOT EXISTS (SELECT FROM gateway.rows_before b WHERE b.relation = 'catalogue' AND b.place = t.id::text)
          AND NOT EXISTS (SELECT FROM public.subscriptions s WHERE s.tier_id::text = t.id::text);
        GET DIAGNOSTICS number = ROW_COUNT;
        counts := pg_catalog.jsonb_set(counts, '{removed}', pg_catalog.to_jsonb((counts ->> 'removed')::bigint + number));
    END IF;
    IF gateway.projection('subscriptions') IS NOT NULL THEN
        left_over := left_over || 'columns, indexes, policies and the trigger that public.subscriptions was given'::text;
    END IF;
    RETURN counts || pg_catalog.jsonb_build_object(
        'kept', CASE WHEN kept THEN pg_catalog.cardinality(changed) ELSE 0 END,
        'kept_users', CASE WHEN kept THEN pg_catalog.to_jsonb(changed[1:50]) ELSE '[]' END,
        'left', pg_catalog.to_jsonb(left_over));
END
$$;
