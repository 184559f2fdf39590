-- The flags of `public.user_profiles`, by user.
CREATE OR REPLACE FUNCTION gateway.others_profiles() RETURNS TABLE (id text, premium boolean, says jsonb)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.user_profiles');
BEGIN
    IF NOT columns ?& ARRAY['id', 'is_premium'] THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE
        'SELECT t.id::text, coalesce(t.is_premium, false), pg_catalog.jsonb_build_object(''premium'', '
        'coalesce(t.is_premium, false)'
        || CASE WHEN columns ? 'subscription_tier'
                THEN ', ''tier'', gateway.plain_word(t.subscription_tier::text)' ELSE '' END
        || CASE WHEN columns ? 'plan' THEN ', ''plan'', gateway.plain_word(t.plan::text)' ELSE '' END
        || ') FROM public.user_profiles t';
END
$$;
