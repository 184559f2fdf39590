-- Works out until when late payers have access, by the truth and by the vouched state. The grace lasts `grace_days` from the
-- first late event after the last event that told of another status: as its own, or as the one before it. If no event tells
-- it, it starts where the content says, or else at the content's own moment. Events that a rule holds tell nothing about the
-- vouched state. Subscriptions without `grace_days` are left alone.
CREATE OR REPLACE FUNCTION gateway.set_grace(subscriptions text[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    object text;
BEGIN
    FOR object IN
        WITH late AS MATERIALIZED (
            SELECT s.is_vouched, s.id, s.late_hint, s.grace_days,
                   pg_catalog.to_timestamp(pg_catalog.substr(s.version, 3, 20)::bigint / 1000.0) AS at
            FROM pg_catalog.unnest(subscriptions) o (id)
            CROSS JOIN LATERAL (
                SELECT false AS is_vouched, t.id, t.late_hint, t.grace_days, t.version
                FROM gateway.stripe_subscriptions t
                WHERE t.id = o.id AND t.status = 'past_due' AND t.grace_days IS NOT NULL
                UNION ALL
                SELECT true, v.id, v.late_hint, v.grace_days, v.version
                FROM gateway.vouched_subscriptions v
                WHERE v.id = o.id AND v.status = 'past_due' AND v.grace_days IS NOT NULL OFFSET 0) s
        ), told AS MATERIALIZED (
            SELECT l.is_vouched, l.id, e.created, e.is_late, e.has_turned
            FROM late l
            CROSS JOIN LATERAL (
                SELECT e.created, coalesce(e.payload #>> '{data,object,status}' = 'past_due', false) AS is_late,
                       e.payload #> '{data,previous_attributes,status}' IS NOT NULL AS has_turned
                FROM gateway.events e
                WHERE e.object_id = l.id AND e.type LIKE 'customer.subscription.%'
                  AND NOT (l.is_vouched AND e.outcome = 'quarantined')
                  AND e.payload #> '{data,object,status}' IS NOT NULL AND e.created <= l.at OFFSET 0) e
        ), since AS MATERIALIZED (
            SELECT l.is_vouched, l.id, l.grace_days, coalesce((
                    SELECT pg_catalog.min(t.created) FROM told t
                    WHERE t.id = l.id AND t.is_vouched = l.is_vouched AND t.is_late AND NOT EXISTS (
                        SELECT FROM told f WHERE f.id = l.id AND f.is_vouched = l.is_vouched
                          AND CASE WHEN f.is_late THEN f.has_turned AND f.created > t.created
                              ELSE f.created > t.created OR f.created = t.created AND NOT t.has_turned END)),
                l.late_hint, l.at) AS began
            FROM late l
        ), of_truth AS (
            UPDATE gateway.stripe_subscriptions s SET
                late_since = x.began, grace_ends_at = x.began + x.grace_days * interval '24 hours'
            FROM since x WHERE s.id = x.id AND NOT x.is_vouched
              AND (s.late_since, s.grace_ends_at)
                IS DISTINCT FROM (x.began, x.began + x.grace_days * interval '24 hours')
            RETURNING s.id
        ), of_vouched AS (
            UPDATE gateway.vouched_subscriptions s SET
                late_since = x.began, grace_ends_at = x.began + x.grace_days * interval '24 hours'
            FROM since x WHERE s.id = x.id AND x.is_vouched
              AND (s.late_since, s.grace_ends_at)
                IS DISTINCT FROM (x.began, x.began + x.grace_days * interval '24 hours')
            RETURNING s.id
        )
        SELECT t.id FROM of_truth t UNION SELECT v.id FROM of_vouched v
    LOOP
        PERFORM gateway.set_recheck(object);
    END LOOP;
END
$$;
