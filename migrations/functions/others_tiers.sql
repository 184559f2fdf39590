-- The rows of `public.subscription_tiers` in its second meaning, by Stripe's id.
CREATE OR REPLACE FUNCTION gateway.others_tiers() RETURNS TABLE (id text, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscription_tiers');
BEGIN
    IF NOT columns ?& ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status'] THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.stripe_subscription_id::text, pg_catalog.jsonb_build_object(''user'', t.user_id::text, '
        '''status'', gateway.plain_word(t.status::text), ''bought'', gateway.plain_word(t.tier_name::text)'
        || CASE WHEN columns ->> 'current_period_end' LIKE 'timestamp%'
                THEN ', ''period_end'', extract(epoch FROM '
                     'least(greatest(t.current_period_end, ''0001-01-01''), ''9999-12-31''))::bigint' ELSE '' END
        || ') FROM public.subscription_tiers t WHERE t.stripe_subscription_id IS NOT NULL';
END
$$;
