-- What the ledger has about the event `wanted`, and what it now holds about the objects `ids` and the event's own: at most `most`
-- rows of a kind. For an event about a customer, also what the customer's subscriptions give. It names no user: it says only
-- whether there is an owner.
CREATE OR REPLACE FUNCTION gateway.event_report(wanted text, ids text[], most integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = '' SET jit = off
AS $$
DECLARE
    own text := (SELECT e.object_id FROM gateway.events e WHERE e.id = wanted);
    objects text[] := CASE WHEN own IS NULL THEN ids ELSE ids || own END;
    payers_subscriptions text[] := '{}';
BEGIN
    IF own LIKE 'cus\_%' THEN
        payers_subscriptions := ARRAY(
            SELECT s.id FROM gateway.stripe_subscriptions s WHERE s.customer_id = own ORDER BY s.preference DESC, s.id LIMIT most);
    END IF;
    RETURN pg_catalog.jsonb_build_object(
        'event', (SELECT pg_catalog.jsonb_build_object(
                'type', e.type, 'outcome', e.outcome, 'rule', e.rule, 'reason', e.reason, 'created_ms', gateway.millis(e.created),
                'recorded_at_ms', gateway.millis(e.recorded_at),
                'content', CASE WHEN e.payload ? 'erased' THEN 'erased' WHEN e.payload ? 'expired' THEN 'expired' ELSE 'whole' END)
            FROM gateway.events e WHERE e.id = wanted),
        'subscriptions', (SELECT coalesce(pg_catalog.jsonb_agg(x.one || pg_catalog.jsonb_build_object(
                'user_id', CASE WHEN x.one ->> 'user_id' IS NOT NULL THEN '(hidden)' END,
                'is_named', x.one ->> 'id' = ANY (objects),
                'tables', (SELECT CASE
                        WHEN a.fault LIKE 'the user''s id does not fit%' THEN 'unfit'
                        WHEN NOT a.shown THEN CASE WHEN a.fault IS NULL THEN 'waits' ELSE 'refused' END
                        WHEN a.subscription_id <> x.one ->> 'id' THEN 'another'
                        WHEN a.subscription_id IS NOT NULL THEN 'shown' END
                    FROM gateway.user_access a WHERE a.user_id = x.one ->> 'user_id')) ORDER BY x.place), '[]')
            FROM pg_catalog.jsonb_array_elements(gateway.person_subscriptions(objects || payers_subscriptions))
                WITH ORDINALITY AS x (one, place)),
        'customers', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'id', c.id, 'version', c.version, 'source', c.source, 'account', c.account, 'livemode', c.livemode,
                'deleted', c.deleted) ORDER BY c.id), '[]')
            FROM gateway.stripe_customers c WHERE c.id = ANY (objects)),
        'money', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) ORDER BY m.kind, m.key), '[]') FROM (
            SELECT r.kind, r.key, r.version, r.amount_minor, r.currency, r.account, r.livemode, r.status FROM (
                SELECT i.* FROM gateway.revenue_entries i
                WHERE i.kind = ANY (ARRAY['invoice', 'payment', 'part', 'refund', 'refund_total', 'dispute'])
                  AND i.key = ANY (objects)
                UNION
                SELECT p.* FROM gateway.revenue_entries p
                WHERE p.payment_id = ANY (objects) AND p.kind = 'part' AND p.invoice_id = ANY (objects)) r
            ORDER BY r.kind, r.key LIMIT most) m),
        'findings', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(f) ORDER BY f.code, f.subject), '[]') FROM (
            SELECT f.code, f.severity, f.subject, f.detail FROM gateway.findings f
            WHERE f.event_id = wanted ORDER BY f.code, f.subject LIMIT most) f),
        'decisions', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(d) ORDER BY d.rule), '[]') FROM (
            SELECT d.rule, d.severity, d.action, d.reason FROM gateway.guardian_decisions d
            WHERE d.event_id = wanted ORDER BY d.rule LIMIT most) d),
        'shadow', gateway.is_shadow(), 'has_tables', true);
END
$$;
