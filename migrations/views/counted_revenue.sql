-- Money that counts, each row with the amount that it counts with:
-- 1. every invoice;
-- 2. a payment, unless a link names an invoice that is there, or, for payments without any link, an invoice that no
--    link names has the same customer, currency and amount within an hour;
-- 3. every refund and dispute, with its sign;
-- 4. of a total of refunds what the single refunds leave.
CREATE OR REPLACE VIEW gateway.counted_revenue AS
SELECT r.kind, r.key, r.livemode, r.currency, r.occurred_at, r.amount_minor
FROM gateway.revenue_entries r WHERE r.kind IN ('invoice', 'refund', 'dispute')
UNION ALL
SELECT r.kind, r.key, r.livemode, r.currency, r.occurred_at, r.amount_minor
FROM gateway.revenue_entries r
WHERE r.kind = 'payment'
  AND NOT EXISTS (
    SELECT FROM gateway.payment_links l JOIN gateway.revenue_entries i ON i.kind = 'invoice' AND i.key = l.invoice_id
    WHERE l.payment_id IN (r.key, r.charge_id))
  AND (EXISTS (SELECT FROM gateway.payment_links l WHERE l.payment_id IN (r.key, r.charge_id))
    OR NOT EXISTS (
      SELECT FROM gateway.revenue_entries i
      WHERE i.kind = 'invoice' AND i.match_key = r.match_key
        AND i.occurred_at BETWEEN r.occurred_at - interval '1 hour' AND r.occurred_at + interval '1 hour'
        AND NOT EXISTS (SELECT FROM gateway.payment_links l WHERE l.invoice_id = i.key)))
UNION ALL
SELECT t.kind, t.key, t.livemode, t.currency, t.occurred_at,
    least(0, t.amount_minor
        + coalesce((SELECT pg_catalog.sum(s.voided_minor) FROM gateway.revenue_entries s
                    WHERE s.kind = 'refund' AND s.payment_id = t.payment_id AND s.as_of >= t.as_of), 0)
        - coalesce((SELECT pg_catalog.sum(s.amount_minor) FROM gateway.revenue_entries s
                    WHERE s.kind = 'refund' AND s.payment_id = t.payment_id), 0))::bigint
FROM gateway.revenue_entries t WHERE t.kind = 'refund_total';
