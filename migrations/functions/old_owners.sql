-- The users whom the other system's rows name for subscriptions and customers that no event assigns to a user, at most
-- `most`. Rows of tables that users can write do not count.
CREATE OR REPLACE FUNCTION gateway.old_owners(most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    unclaimed text[] := ARRAY(SELECT g.id FROM gateway.subscription_grants g WHERE NOT g.claimed ORDER BY g.id);
    found jsonb := '[]';
    more jsonb;
BEGIN
    IF NOT gateway.users_write('public.subscription_tiers') THEN
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'subject', o.id, 'user_id', o.says ->> 'user', 'place', 'public.subscription_tiers.user_id')), '[]') INTO more
        FROM gateway.others_tiers() o WHERE o.id = ANY (unclaimed) AND o.says ->> 'user' IS NOT NULL;
        found := found || more;
    END IF;
    IF NOT gateway.users_write('public.subscriptions') THEN
        SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'subject', o.id, 'user_id', o.says ->> 'user', 'place', 'public.subscriptions')), '[]') INTO more
        FROM gateway.others_subscriptions() o WHERE o.id = ANY (unclaimed) AND o.says ->> 'user' IS NOT NULL;
        found := found || more;
    END IF;
    IF gateway.columns_of('public.user_profiles') ?& ARRAY['id', 'stripe_customer_id']
       AND NOT gateway.users_write('public.user_profiles') THEN
        EXECUTE 'SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('
                '''subject'', c.id, ''user_id'', p.id::text, ''place'', ''public.user_profiles.stripe_customer_id'')), ''[]'') '
                'FROM (SELECT DISTINCT s.customer_id AS id FROM gateway.stripe_subscriptions s WHERE s.id = ANY ($1)) c '
                'JOIN public.user_profiles p ON p.stripe_customer_id = (c.id COLLATE pg_catalog."default")'
        INTO more USING unclaimed;
        found := found || more;
    END IF;
    RETURN (SELECT coalesce(pg_catalog.jsonb_agg(f.value), '[]')
            FROM (SELECT f.value FROM pg_catalog.jsonb_array_elements(found) f
                  ORDER BY f.value ->> 'subject', f.value ->> 'place' LIMIT most) f);
END
$$;
