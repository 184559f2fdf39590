-- Mirrors `gateway.event_report`. There are no public tables.
WITH own AS MATERIALIZED (
    SELECT object_id AS id FROM events WHERE id = :wanted AND object_id IS NOT NULL
), objects AS MATERIALIZED (
    SELECT value AS id FROM json_each(:ids) UNION SELECT id FROM own
), subs AS MATERIALIZED (
    SELECT id FROM objects
    UNION SELECT id FROM (SELECT s.id FROM own o JOIN stripe_subscriptions s ON s.customer_id = o.id
        WHERE o.id GLOB 'cus_*' ORDER BY s.preference DESC, s.id LIMIT :most)
), kinds (kind) AS (
    VALUES ('invoice'), ('payment'), ('part'), ('refund'), ('refund_total'), ('dispute')
), amounts AS MATERIALIZED (
    SELECT r.kind, r.key FROM objects o CROSS JOIN kinds k CROSS JOIN revenue_entries r ON r.kind = k.kind AND r.key = o.id
    UNION SELECT r.kind, r.key FROM objects o CROSS JOIN revenue_entries r ON r.payment_id = o.id
        WHERE r.kind = 'part' AND r.invoice_id IN (SELECT id FROM objects)
)
SELECT json_object(
    'event', (SELECT json_object('type', type, 'outcome', outcome, 'rule', rule, 'reason', reason, 'created_ms', created,
            'recorded_at_ms', recorded_at,
            'content', CASE WHEN json_extract(payload, '$.erased') THEN 'erased'
                WHEN json_extract(payload, '$.expired') THEN 'expired' ELSE 'whole' END)
        FROM events WHERE id = :wanted),
    'subscriptions', (SELECT json_group_array(json(line)) FROM (
        SELECT json_set(line, '$.user_id', CASE WHEN json_extract(line, '$.user_id') IS NOT NULL THEN '(hidden)' END,
            '$.is_named', json(iif(json_extract(line, '$.id') IN (SELECT id FROM objects), 'true', 'false')),
            '$.tables', NULL) AS line
        FROM (SUBSCRIPTION_LINES WHERE s.id IN (SELECT id FROM subs) ORDER BY g.preference DESC, s.id))),
    'customers', (SELECT json_group_array(json_object('id', id, 'version', version, 'source', source, 'account', account,
            'livemode', json(iif(livemode, 'true', 'false')), 'deleted', json(iif(deleted, 'true', 'false'))))
        FROM (SELECT * FROM stripe_customers WHERE id IN (SELECT id FROM objects) ORDER BY id)),
    'money', (SELECT json_group_array(json_object('kind', kind, 'key', key, 'version', version, 'amount_minor', amount_minor,
            'currency', currency, 'account', account, 'livemode', json(iif(livemode, 'true', 'false')), 'status', status))
        FROM (SELECT r.* FROM amounts a CROSS JOIN revenue_entries r ON r.kind = a.kind AND r.key = a.key
            ORDER BY r.kind, r.key LIMIT :most)),
    'findings', (SELECT json_group_array(json_object('code', code, 'severity', severity, 'subject', subject, 'detail', detail))
        FROM (SELECT * FROM findings WHERE event_id = :wanted ORDER BY code, subject LIMIT :most)),
    'decisions', (SELECT json_group_array(json_object('rule', rule, 'severity', severity, 'action', action, 'reason', reason))
        FROM (SELECT * FROM guardian_decisions WHERE event_id = :wanted ORDER BY rule LIMIT :most)),
    'shadow', json('false'), 'has_tables', json('false'))
