-- Mirrors `gateway.person`.
WITH given_customers AS (
    SELECT :given AS id WHERE :kind = 'customer'
    UNION SELECT customer_id FROM stripe_subscriptions WHERE :kind = 'subscription' AND id = :given AND customer_id IS NOT NULL
    UNION SELECT to_id FROM customer_bindings WHERE :kind = 'subscription' AND kind = 'subscription_customer' AND from_id = :given
), users AS MATERIALIZED (
    SELECT :given AS id WHERE :kind = 'user'
    UNION SELECT c.user_id FROM claims c WHERE :kind <> 'user' AND c.subject IN (
        SELECT :given UNION SELECT id FROM given_customers
        UNION SELECT s.id FROM stripe_subscriptions s WHERE s.customer_id IN (SELECT id FROM given_customers)
        UNION SELECT from_id FROM customer_bindings
        WHERE kind = 'subscription_customer' AND to_id IN (SELECT id FROM given_customers))
    ORDER BY 1 LIMIT :most
), only_user AS MATERIALIZED (
    SELECT min(id) AS id FROM users HAVING count(*) = 1
), own_customers AS (
    SELECT id FROM given_customers
    UNION SELECT c.subject FROM claims c JOIN only_user u ON c.user_id = u.id WHERE c.rank IN (10, 30, 40, 50, 60)
), all_subs AS (
    SELECT :given AS id WHERE :kind = 'subscription'
    UNION SELECT c.subject FROM claims c JOIN only_user u ON c.user_id = u.id WHERE c.rank NOT IN (10, 30, 40, 50, 60)
    UNION SELECT s.id FROM stripe_subscriptions s WHERE s.customer_id IN (SELECT id FROM own_customers)
    UNION SELECT from_id FROM customer_bindings WHERE kind = 'subscription_customer' AND to_id IN (SELECT id FROM own_customers)
), subs AS MATERIALIZED (
    SELECT x.id FROM all_subs x LEFT JOIN stripe_subscriptions s ON s.id = x.id
    ORDER BY x.id = :given DESC, s.preference DESC, x.id LIMIT :most
), payers AS MATERIALIZED (
    SELECT customer_id AS id FROM stripe_subscriptions WHERE id IN (SELECT id FROM subs) AND customer_id IS NOT NULL
    UNION SELECT to_id FROM customer_bindings WHERE kind = 'subscription_customer' AND from_id IN (SELECT id FROM subs)
), all_customers AS MATERIALIZED (
    SELECT id FROM own_customers UNION SELECT id FROM payers
), customers AS MATERIALIZED (
    SELECT id FROM all_customers ORDER BY id = :given DESC, id IN (SELECT id FROM payers) DESC, id LIMIT :most
), own_money AS MATERIALIZED (
    SELECT key, payment_id FROM revenue_entries WHERE customer_id IN (SELECT id FROM all_customers)
    ORDER BY occurred_at DESC, key LIMIT :most
), keys AS MATERIALIZED (
    SELECT key FROM own_money
    UNION SELECT r.key FROM revenue_entries r WHERE r.payment_id IN (SELECT payment_id FROM own_money)
), told AS MATERIALIZED (
    SELECT id, type, object_id, outcome, rule, reason, created FROM events WHERE object_id IN (
        SELECT id FROM subs UNION SELECT id FROM customers UNION SELECT key FROM keys)
    ORDER BY created DESC, id LIMIT :most
)
SELECT json_object(
    'users', (SELECT json_group_array(id) FROM users),
    'customers', (SELECT json_group_array(json_object('id', i.id, 'known', json(iif(c.id IS NOT NULL, 'true', 'false')),
            'account', c.account, 'livemode', CASE WHEN c.id IS NOT NULL THEN json(iif(c.livemode, 'true', 'false')) END,
            'deleted', json(iif(c.deleted, 'true', 'false')),
            'delinquent', CASE WHEN c.delinquent IS NOT NULL THEN json(iif(c.delinquent, 'true', 'false')) END,
            'balance_minor', c.balance_minor, 'currency', c.currency))
        FROM (SELECT id FROM customers ORDER BY id) i LEFT JOIN stripe_customers c ON c.id = i.id),
    'subscriptions', (SELECT json_group_array(json(line)) FROM (
        SUBSCRIPTION_LINES WHERE s.id IN (SELECT id FROM subs) ORDER BY g.preference DESC, s.id)),
    'untold', (SELECT json_group_array(id) FROM (SELECT x.id FROM subs x
        WHERE x.id NOT IN (SELECT id FROM stripe_subscriptions)
            AND (EXISTS (SELECT 1 FROM customer_bindings WHERE kind = 'subscription_customer' AND from_id = x.id)
                OR EXISTS (SELECT 1 FROM claims WHERE subject = x.id))
        ORDER BY x.id)),
    'erased_at_ms', (SELECT erased_at FROM erasures WHERE kind = :kind AND fingerprint = :fingerprint),
    'access', json('[]'),
    'claims', (SELECT json_group_array(json_object('subject', subject, 'rank', rank, 'user_id', user_id, 'evidence', evidence,
            'version', version))
        FROM (SELECT * FROM claims WHERE subject IN (SELECT id FROM subs UNION SELECT id FROM customers)
              ORDER BY rank DESC, subject, user_id LIMIT :most)),
    'money', (SELECT json_group_array(json_object('kind', kind, 'key', key, 'amount_minor', amount_minor, 'currency', currency,
            'account', account, 'livemode', json(iif(livemode, 'true', 'false')), 'status', status, 'invoice_id', invoice_id,
            'payment_id', payment_id, 'subscription_id', subscription_id, 'customer_id', customer_id,
            'occurred_at_ms', occurred_at))
        FROM (SELECT * FROM revenue_entries WHERE key IN (SELECT key FROM keys) ORDER BY occurred_at DESC, key LIMIT :most)),
    'events', (SELECT json_group_array(json_object('id', id, 'type', type, 'object_id', object_id, 'outcome', outcome, 'rule', rule,
            'reason', reason, 'created_ms', created))
        FROM (SELECT * FROM told ORDER BY created DESC, id)),
    'findings', (SELECT json_group_array(json_object('event_id', event_id, 'code', code, 'severity', severity, 'subject', subject,
            'detail', detail))
        FROM (SELECT * FROM findings WHERE event_id IN (SELECT id FROM told) ORDER BY code, event_id LIMIT :most)),
    'shadow', json('false'), 'has_tables', json('false'))
