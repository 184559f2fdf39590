-- The subscriptions of one mode whose identifiers come after `after`.
CREATE OR REPLACE FUNCTION gateway.subscriptions_after(after text, live boolean, most integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.id, 'account', s.account, 'created_ms', gateway.millis(s.created)) ORDER BY s.id), '[]')
    FROM (SELECT t.id, t.account, t.created FROM gateway.stripe_subscriptions t
          WHERE t.id > after COLLATE "C" AND t.livemode = live ORDER BY t.id LIMIT most) s
$$;
