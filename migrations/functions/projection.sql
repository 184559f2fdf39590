-- The columns of a public table if its projection is on, else null. In shadow mode nothing is written, and whatever is
-- there is read: to know which subscriptions are a creator's, and to compare.
CREATE OR REPLACE FUNCTION gateway.projection(wanted text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    shadow boolean := gateway.is_shadow();
    mode text := (SELECT p.mode FROM gateway.projections p WHERE p.name = wanted);
    columns jsonb;
    needed text[] := CASE wanted
        WHEN 'subscriptions' THEN ARRAY['subscriber_id', 'creator_id', 'status', 'stripe_subscription_id']
        WHEN 'subscription_tiers' THEN ARRAY['stripe_subscription_id', 'user_id', 'tier_name', 'status']
        ELSE ARRAY['id', 'is_premium']
    END;
BEGIN
    IF mode = 'off' AND NOT shadow THEN
        RETURN NULL;
    END IF;
    columns := gateway.columns_of('public.' || wanted);
    IF columns ?& needed THEN
        RETURN columns;
    ELSIF mode = 'on' AND NOT shadow THEN
        RAISE EXCEPTION 'projection % is on, but public.% lacks one of %', wanted, wanted, needed
            USING ERRCODE = 'GW002';
    END IF;
    RETURN NULL;
END
$$;
