-- The row of a creators' catalogue that stands for a tier of the platform, made if it is missing. Readers embed it to get the
-- tier's name. Its price is that of the subscription, but at least the catalogue's minimum.
CREATE OR REPLACE FUNCTION gateway.platform_tier(tier text, subscription text) RETURNS uuid
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscription_tiers');
    found uuid;
    amount bigint;
    money text;
BEGIN
    IF NOT columns ?& ARRAY['id', 'creator_id', 'name', 'price'] OR columns ->> 'id' <> 'uuid' THEN
        RETURN NULL;
    END IF;
    EXECUTE 'SELECT id FROM public.subscription_tiers WHERE creator_id IS NULL AND pg_catalog.lower(name) = $1 '
            'ORDER BY id LIMIT 1' INTO found USING tier;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT s.unit_amount, s.currency INTO amount, money
    FROM gateway.stripe_subscriptions s WHERE s.id = subscription;
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscription_tiers (name, price %s %s) VALUES ($1, $2 %s %s) RETURNING id',
        CASE WHEN columns ? 'name_fr' THEN ', name_fr' END,
        CASE WHEN columns ? 'currency' THEN ', currency' END,
        CASE WHEN columns ? 'name_fr' THEN ', $3' END,
        CASE WHEN columns ? 'currency' THEN ', $4' END)
    INTO found
    USING tier, greatest(coalesce(amount, 0) / CASE
            -- Stripe does not count these currencies in hundredths.
            WHEN money IN ('bif', 'clp', 'djf', 'gnf', 'jpy', 'kmf', 'krw', 'mga', 'pyg', 'rwf', 'vnd', 'vuv', 'xaf', 'xof', 'xpf')
                THEN 1.0
            WHEN money IN ('bhd', 'jod', 'kwd', 'omr', 'tnd') THEN 1000.0
            ELSE 100.0 END, 4.99),
        CASE tier WHEN 'silver' THEN 'Argent' WHEN 'gold' THEN 'Or' ELSE pg_catalog.initcap(tier) END,
        pg_catalog.upper(coalesce(money, 'cad'));
    RETURN found;
END
$$;
