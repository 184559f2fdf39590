-- Subscriptions with their users, those of greatest preference first, for `public.gateway_subscriptions`.
CREATE OR REPLACE FUNCTION gateway.subscription_lines(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) - 'preference' ORDER BY l.preference DESC, l.id), '[]')
    FROM (
        SELECT s.id, s.livemode, o.user_id, s.customer_id, s.status, o.projected_status, o.entitles, o.tier,
            s.currency, s.mrr_minor, s.source, o.preference, s.will_cancel, s.account,
            (extract(epoch FROM s.current_period_end) * 1000)::bigint AS current_period_end_ms
        FROM gateway.stripe_subscriptions s JOIN gateway.subscription_grants o ON o.id = s.id
        ORDER BY o.preference DESC, s.id LIMIT most
    ) l
$$;
