-- Works out until when late payers have access: `grace_days` from the first event of being late since the last that told of
-- another status; where no event tells it, from what the content says, or from its own moment. Only where the operator has
-- set days at all.
CREATE OR REPLACE FUNCTION gateway.set_grace(subscriptions text[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    WITH late AS MATERIALIZED (
        SELECT s.id, s.late_hint, s.grace_days,
               pg_catalog.to_timestamp(pg_catalog.substr(s.version, 3, 20)::bigint / 1000.0) AS at
        FROM pg_catalog.unnest(subscriptions) o (id)
        CROSS JOIN LATERAL (
            SELECT t.* FROM gateway.stripe_subscriptions t
            WHERE t.id = o.id AND t.status = 'past_due' AND t.grace_days IS NOT NULL OFFSET 0) s
    ), told AS MATERIALIZED (
        SELECT l.id, e.created, e.is_late, e.has_turned
        FROM late l
        CROSS JOIN LATERAL (
            SELECT e.created, coalesce(e.payload #>> '{data,object,status}' = 'past_due', false) AS is_late,
                   e.payload #> '{data,previous_attributes,status}' IS NOT NULL AS has_turned
            FROM gateway.events e
            WHERE e.object_id = l.id AND e.type LIKE 'customer.subscription.%'
              AND e.payload #> '{data,object,status}' IS NOT NULL AND e.created <= l.at OFFSET 0) e
    ), since AS (
        SELECT l.id, l.grace_days, coalesce((
                SELECT pg_catalog.min(t.created) FROM told t
                WHERE t.id = l.id AND t.is_late AND NOT EXISTS (
                    SELECT FROM told f WHERE f.id = l.id AND NOT f.is_late
                      AND (f.created > t.created OR f.created = t.created AND NOT t.has_turned))),
            l.late_hint, l.at) AS began
        FROM late l
    )
    UPDATE gateway.stripe_subscriptions s SET
        late_since = x.began,
        grace_ends_at = x.began + x.grace_days * interval '24 hours',
        recheck_at = x.began + x.grace_days * interval '24 hours'
    FROM since x WHERE s.id = x.id
      AND (s.late_since, s.grace_ends_at) IS DISTINCT FROM (x.began, x.began + x.grace_days * interval '24 hours');
END
$$;
