-- The rows of `public.subscriptions` that another system keeps for the platform, by Stripe's id. `infinity` stands for access without
-- an end, and is told as the last year.
CREATE OR REPLACE FUNCTION gateway.others_subscriptions() RETURNS TABLE (id text, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
    fields text := '';
    users text[] := ARRAY(SELECT 't.' || c || '::text' FROM pg_catalog.unnest(ARRAY['user_id', 'subscriber_id']) c
                          WHERE columns ? c);
BEGIN
    IF NOT columns ?& ARRAY['stripe_subscription_id', 'status'] THEN
        RETURN;
    END IF;
    IF users <> '{}' THEN
        fields := fields || ', ''user'', coalesce(' || pg_catalog.array_to_string(users, ', ') || ')';
    END IF;
    IF columns ->> 'tier' IN ('text', 'character varying') THEN
        fields := fields || ', ''tier'', gateway.plain_word(t.tier)';
    ELSIF columns ->> 'tier_id' IN ('text', 'character varying') THEN
        fields := fields || ', ''tier'', gateway.plain_word(t.tier_id)';
    ELSIF columns ->> 'tier_id' = 'uuid' AND gateway.columns_of('public.subscription_tiers') ?& ARRAY['id', 'name'] THEN
        fields := fields || ', ''tier'', (SELECT gateway.plain_word(c.name) FROM public.subscription_tiers c '
                            'WHERE c.id = t.tier_id)';
    END IF;
    IF columns ->> 'current_period_start' LIKE 'timestamp%' THEN
        fields := fields || ', ''period_start'', extract(epoch FROM '
            'least(greatest(t.current_period_start, ''0001-01-01''), ''9999-12-31''))::bigint';
    END IF;
    IF columns ->> 'current_period_end' LIKE 'timestamp%' THEN
        fields := fields || ', ''period_end'', extract(epoch FROM '
            'least(greatest(t.current_period_end, ''0001-01-01''), ''9999-12-31''))::bigint';
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.stripe_subscription_id::text, pg_catalog.jsonb_build_object(''status'', '
        || 'gateway.plain_word(t.status::text)' || fields || ') FROM public.subscriptions t '
        || 'WHERE t.stripe_subscription_id IS NOT NULL'
        || CASE WHEN columns ?& ARRAY['subscriber_id', 'creator_id']
                THEN ' AND t.creator_id IS NOT DISTINCT FROM t.subscriber_id' ELSE '' END;
END
$$;
