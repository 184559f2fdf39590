-- Writes `public.subscription_tiers` in its second meaning: one row per Stripe subscription, `cancelled` with two l.
CREATE OR REPLACE FUNCTION gateway.show_subscription_tiers(users text[], columns jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    extra text := CASE WHEN columns ? 'stripe_customer_id' THEN ', stripe_customer_id' END;
    stamp text := CASE WHEN columns ? 'updated_at' THEN ', updated_at = pg_catalog.now()' END;
BEGIN
    EXECUTE pg_catalog.format(
        'INSERT INTO public.subscription_tiers AS t '
        '(stripe_subscription_id, user_id, tier_name, status, current_period_start, current_period_end %2$s) '
        'SELECT s.id, o.user_id::%1$s, coalesce(s.tier, b.to_id, ''premium''), '
        'CASE s.projected_status WHEN ''canceled'' THEN ''cancelled'' ELSE s.projected_status END, '
        'coalesce(s.current_period_start, s.started_at, s.created, pg_catalog.to_timestamp(0)), '
        'coalesce(s.current_period_end, s.ended_at, s.current_period_start, s.started_at, s.created, '
        'pg_catalog.to_timestamp(0)) %3$s '
        'FROM gateway.subscriptions_of($1) o JOIN gateway.stripe_subscriptions s ON s.id = o.id '
        'LEFT JOIN gateway.customer_bindings b ON b.kind = ''subscription_tier'' AND b.from_id = s.id '
        'WHERE s.projected_status IS NOT NULL AND gateway.fits(o.user_id, %1$L) '
        'ON CONFLICT (stripe_subscription_id) DO UPDATE SET user_id = excluded.user_id, '
        'tier_name = excluded.tier_name, status = excluded.status, '
        'current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end '
        '%4$s %5$s '
        'WHERE (t.user_id, t.tier_name, t.status, t.current_period_start, t.current_period_end) IS DISTINCT FROM '
        '(excluded.user_id, excluded.tier_name, excluded.status, excluded.current_period_start, '
        'excluded.current_period_end)',
        columns ->> 'user_id', extra,
        CASE WHEN extra IS NOT NULL THEN ', s.customer_id' END,
        CASE WHEN extra IS NOT NULL THEN ', stripe_customer_id = excluded.stripe_customer_id' END,
        stamp) USING users;
END
$$;
