-- The columns of a public table if its projection is on, else null.
CREATE OR REPLACE FUNCTION gateway.projection(wanted text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    mode text := (SELECT p.mode FROM gateway.projections p WHERE p.name = wanted);
    form text := CASE WHEN wanted = 'subscriptions' THEN gateway.subscriptions_form() END;
    columns jsonb;
    needed text[] := CASE wanted
        WHEN 'subscriptions' THEN CASE form
            WHEN 'users' THEN ARRAY['user_id', 'status', 'stripe_subscription_id']
            ELSE ARRAY['subscriber_id', 'creator_id', 'status', 'stripe_subscription_id'] END
        WHEN 'subscription_tiers' THEN ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
        ELSE ARRAY['id', 'is_premium']
    END;
BEGIN
    IF mode = 'off' OR form = 'fans' THEN
        RETURN NULL;
    END IF;
    columns := gateway.columns_of('public.' || wanted);
    IF columns ?& needed THEN
        RETURN columns;
    ELSIF mode = 'on' THEN
        RAISE EXCEPTION 'projection % is on, but public.% lacks one of %', wanted, wanted, needed
            USING ERRCODE = 'GW002';
    END IF;
    RETURN NULL;
END
$$;
