-- Subscriptions with their users, those of greatest preference first, for `public.gateway_subscriptions`.
CREATE OR REPLACE FUNCTION gateway.subscription_lines(most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' SET jit = off
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) - 'preference' ORDER BY l.preference DESC, l.id), '[]')
    FROM (
        SELECT a.id, a.livemode, a.user_id, a.customer_id, a.status, a.projected_status, a.entitles, a.tier, a.currency,
            a.mrr_minor, a.source, a.preference, a.account, a.will_cancel, a.will_renew, a.partial, a.items,
            (extract(epoch FROM a.current_period_end) * 1000)::bigint AS current_period_end_ms,
            (extract(epoch FROM a.grace_ends_at) * 1000)::bigint AS grace_ends_at_ms
        FROM gateway.subscription_access a ORDER BY a.preference DESC, a.id LIMIT most
    ) l
$$;
