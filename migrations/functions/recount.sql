-- Answers the requests of a recount: pages of events, of money and of links, contents that differ, and mending
-- (`src/ledger/recount.rs` has the form of each request).
CREATE OR REPLACE FUNCTION gateway.recount(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    most integer := (request ->> 'most')::integer;
BEGIN
    RETURN CASE request ->> 'op'
        WHEN 'events' THEN gateway.recount_events(request ->> 'after', most, (request ->> 'bytes')::bigint)
        WHEN 'money' THEN (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(t) || pg_catalog.jsonb_build_object(
                'as_of', gateway.millis(t.as_of), 'occurred_at', gateway.millis(t.occurred_at))
                ORDER BY t.kind, t.key), '[]')
            FROM (
                SELECT * FROM gateway.revenue_entries r
                WHERE (r.kind, r.key) > ((request ->> 'kind') COLLATE "C", (request ->> 'key') COLLATE "C")
                ORDER BY r.kind, r.key LIMIT most) t)
        WHEN 'links' THEN (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(t) ORDER BY t.payment_id, t.invoice_id), '[]')
            FROM (
                SELECT * FROM gateway.payment_links l
                WHERE (l.payment_id, l.invoice_id)
                    > ((request ->> 'payment') COLLATE "C", (request ->> 'invoice') COLLATE "C")
                ORDER BY l.payment_id, l.invoice_id LIMIT most) t)
        WHEN 'differing' THEN gateway.recount_differing(request)
        WHEN 'mend' THEN gateway.recount_mend(request)
    END;
END
$$;
