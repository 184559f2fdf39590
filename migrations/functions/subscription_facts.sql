-- What the ledger holds about these subscriptions. The names are those of `src/ledger/audit.rs`.
CREATE OR REPLACE FUNCTION gateway.subscription_facts(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.id, 'version', s.version, 'user_id', o.user_id, 'doubted', o.doubted,
        'vouched', NOT o.doubted OR EXISTS (
            SELECT FROM gateway.vouched_subscriptions v WHERE v.id = s.id AND v.version = s.version),
        'claimed_by', (SELECT coalesce(pg_catalog.jsonb_agg(c.user_id), '[]') FROM gateway.claims c
            WHERE c.subject = s.id AND c.rank = 80),
        'values', pg_catalog.jsonb_build_object(
            'account', s.account, 'livemode', s.livemode, 'customer', s.customer_id, 'status', s.status,
            'projected_status', s.projected_status, 'entitles', s.entitles, 'tier', s.tier, 'price', s.price_id,
            'prices', (SELECT coalesce(pg_catalog.jsonb_agg(p.price ORDER BY p.price COLLATE "C"), '[]') FROM (
                SELECT coalesce(i #>> '{price,id}', i #>> '{plan,id}', '-') || ' x '
                    || coalesce(i ->> 'quantity', '-') AS price
                FROM pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(s.raw #> '{items,data}')
                    WHEN 'array' THEN s.raw #> '{items,data}' ELSE '[]' END) i) p),
            'quantity', s.quantity, 'currency', s.currency, 'unit_amount', s.unit_amount, 'interval', s."interval",
            'interval_count', s.interval_count, 'items', s.items, 'mrr_minor', s.mrr_minor,
            'current_period_start', gateway.millis(s.current_period_start),
            'current_period_end', gateway.millis(s.current_period_end),
            'partial', s.partial, 'will_cancel', s.will_cancel, 'will_renew', s.will_renew,
            'collection_method', s.collection_method, 'grace_days', s.grace_days,
            'access_from', gateway.millis(s.access_from), 'cancel_at', gateway.millis(s.cancel_at),
            'canceled_at', gateway.millis(s.canceled_at), 'ended_at', gateway.millis(s.ended_at),
            'trial_end', gateway.millis(s.trial_end), 'pause_behavior', s.pause_behavior,
            'pause_resumes_at', gateway.millis(s.pause_resumes_at), 'latest_invoice', s.latest_invoice_id,
            'metadata_user', s.metadata_user_id))), '[]')
    FROM pg_catalog.jsonb_array_elements_text(ids) asked
    JOIN gateway.stripe_subscriptions s ON s.id = asked
    -- Looked up by key, so that the view does not work out the grants of all subscriptions.
    CROSS JOIN LATERAL (SELECT x.* FROM gateway.subscription_grants x WHERE x.id = s.id OFFSET 0) o
$$;
