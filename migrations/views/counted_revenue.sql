-- Money that counts: each row with the amount that it counts with, and how much of that came around Stripe. Mirrors the code in
-- `revenue::counting`; `revenue::rows` has the rules.
CREATE OR REPLACE VIEW gateway.counted_revenue AS
WITH
-- The payment intent of each charge, where some row names both.
names AS (
    SELECT charge_id, pg_catalog.max(payment_id) AS payment FROM gateway.revenue_entries
    WHERE charge_id IS NOT NULL AND payment_id <> charge_id
    GROUP BY charge_id
),
entries AS MATERIALIZED (
    SELECT e.kind, e.key, e.version, e.as_of, e.account, e.livemode, e.amount_minor, e.outside_minor,
        e.uncaptured_minor, e.voided_minor, e.currency, e.occurred_at, e.invoice_id, e.customer_id,
        coalesce(n.payment, e.payment_id) AS payment
    FROM gateway.revenue_entries e LEFT JOIN names n ON n.charge_id = e.payment_id
),
links AS MATERIALIZED (
    SELECT coalesce(n.payment, l.payment_id) AS payment, l.invoice_id, pg_catalog.max(l.evidence) AS evidence
    FROM gateway.payment_links l LEFT JOIN names n ON n.charge_id = l.payment_id
    GROUP BY 1, 2
),
-- Two ids can tell of the same part; the larger amount counts.
parts AS MATERIALIZED (
    SELECT * FROM (
        SELECT e.*, coalesce(e.payment, e.key) AS name,
            pg_catalog.row_number() OVER (PARTITION BY coalesce(e.payment, e.key), e.invoice_id
                               ORDER BY e.amount_minor DESC, e.key) AS place
        FROM entries e WHERE e.kind = 'part' AND e.invoice_id IS NOT NULL) p
    WHERE place = 1
),
-- `outside` is the amount that parts say came around Stripe. `claim` is what only the invoice says of it, and counts as far as no
-- payment through Stripe is found for it. `room` is the amount that no part accounts for.
invoices AS MATERIALIZED (
    SELECT i.key, i.account, i.livemode, i.currency, i.customer_id, i.occurred_at, i.amount_minor,
        least(i.amount_minor, coalesce(p.outside, 0)) AS outside,
        greatest(0, i.outside_minor - coalesce(p.outside, 0)) AS claim,
        greatest(0, i.amount_minor - least(i.amount_minor, coalesce(p.outside, 0)) - coalesce(p.through, 0)) AS room
    FROM entries i LEFT JOIN (
        SELECT invoice_id, pg_catalog.sum(outside_minor) AS outside, pg_catalog.sum(amount_minor - outside_minor) AS through
        FROM parts GROUP BY 1
    ) p ON p.invoice_id = i.key
    WHERE i.kind = 'invoice'
),
-- An invoice accounts for no more than was paid on it: an overpaid amount counts with the payment.
told_by_parts AS MATERIALIZED (
    SELECT name, pg_catalog.sum(told) AS told, pg_catalog.sum(promised) AS promised
    FROM (
        SELECT p.name,
            CASE WHEN i.key IS NULL THEN 0
                ELSE greatest(0, least(p.through, i.amount_minor - i.outside + p.through - pg_catalog.sum(p.through) OVER (
                    PARTITION BY p.invoice_id ORDER BY p.name ROWS UNBOUNDED PRECEDING))) END AS told,
            CASE WHEN i.key IS NULL THEN p.through ELSE 0 END AS promised
        FROM (SELECT name, invoice_id, amount_minor - outside_minor AS through FROM parts) p
        LEFT JOIN invoices i ON i.key = p.invoice_id
    ) t
    GROUP BY 1
),
payments AS MATERIALIZED (
    SELECT p.*, greatest(0, p.amount_minor - coalesce(t.told, 0)) AS rest, coalesce(t.promised, 0) AS promised
    FROM (
        SELECT e.*, coalesce(e.payment, e.key) AS name,
            pg_catalog.row_number() OVER (PARTITION BY coalesce(e.payment, e.key) ORDER BY e.version DESC, e.key DESC) AS place
        FROM entries e WHERE e.kind = 'payment'
    ) p LEFT JOIN told_by_parts t ON t.name = p.name
    WHERE p.place = 1
),
-- Links for which there is no part, between known payments and invoices.
named AS MATERIALIZED (
    SELECT l.payment AS name, l.invoice_id, i.key AS known
    FROM links l
    LEFT JOIN invoices i ON i.key = l.invoice_id
    LEFT JOIN parts p ON p.name = l.payment AND p.invoice_id = l.invoice_id
    WHERE l.evidence = 2 AND p.key IS NULL
),
hinted AS MATERIALIZED (
    SELECT l.payment AS name, l.invoice_id
    FROM links l
    WHERE l.evidence = 1
      AND NOT EXISTS (SELECT FROM links b WHERE b.payment = l.payment AND b.evidence = 2)
      AND NOT EXISTS (SELECT FROM told_by_parts t WHERE t.name = l.payment)
),
followed AS (
    SELECT n.name, n.known AS invoice, 2 AS evidence, least(p.rest, i.room) AS wanted, i.room
    FROM named n JOIN payments p ON p.name = n.name JOIN invoices i ON i.key = n.known
    UNION
    SELECT f.name, f.key, 1, f.wanted, f.room
    FROM (
        -- A hint that fits several invoices names none of them.
        SELECT h.name, i.key, least(p.rest, i.room) AS wanted, i.room,
            pg_catalog.count(*) OVER (PARTITION BY h.name, h.invoice_id) AS fitting
        FROM hinted h JOIN payments p ON p.name = h.name
        JOIN invoices i ON pg_catalog.substr(i.key, 1, 25) = pg_catalog.substr(h.invoice_id, 1, 25)
            AND (i.key = h.invoice_id OR pg_catalog.length(h.invoice_id) = 25) AND i.currency = p.currency
            AND (i.customer_id IS NULL OR p.customer_id IS NULL OR i.customer_id = p.customer_id)
    ) f WHERE f.fitting = 1
),
-- Better evidence goes first, as far as there is room.
tells AS MATERIALIZED (
    SELECT f.name, f.invoice, greatest(0, least(f.wanted, f.room + f.wanted - pg_catalog.sum(f.wanted) OVER (
        PARTITION BY f.invoice ORDER BY f.evidence DESC, f.name ROWS UNBOUNDED PRECEDING))) AS told
    FROM followed f
),
left_of_payments AS MATERIALIZED (
    SELECT p.key, p.name, p.account, p.livemode, p.currency, p.customer_id, p.occurred_at,
        greatest(0, p.rest - coalesce(t.told, 0)) AS rest,
        CASE WHEN w.name IS NULL THEN least(p.promised, greatest(0, p.rest - coalesce(t.told, 0)))
            ELSE greatest(0, p.rest - coalesce(t.told, 0)) END AS promised
    FROM payments p
    LEFT JOIN (SELECT name, pg_catalog.sum(told) AS told FROM tells GROUP BY 1) t ON t.name = p.name
    LEFT JOIN (SELECT DISTINCT name FROM named WHERE known IS NULL) w ON w.name = p.name
),
left_of_invoices AS MATERIALIZED (
    SELECT i.*, i.room - coalesce(t.told, 0) AS left_over
    FROM invoices i LEFT JOIN (SELECT invoice, pg_catalog.sum(told) AS told FROM tells GROUP BY 1) t ON t.invoice = i.key
),
-- Invoices that name a payment which is not known: no other payment is theirs.
awaiting AS MATERIALIZED (
    SELECT DISTINCT n.invoice_id FROM named n LEFT JOIN payments p ON p.name = n.name WHERE p.name IS NULL
),
-- Pairs that no event links: the same account, mode, customer, currency and amount, and no gap longer than the window.
sides AS (
    SELECT 1 AS is_payment, 0 AS claims, key, account, livemode, customer_id, currency, rest - promised AS amount, occurred_at
    FROM left_of_payments WHERE customer_id IS NOT NULL AND rest > promised
    UNION ALL
    SELECT 0, CASE WHEN i.claim > 0 THEN 1 ELSE 0 END, i.key, i.account, i.livemode, i.customer_id, i.currency, i.left_over, i.occurred_at
    FROM left_of_invoices i WHERE i.customer_id IS NOT NULL AND i.left_over > 0
      AND (i.claim > 0 OR i.key NOT IN (SELECT invoice_id FROM awaiting))
),
stepped AS (
    SELECT s.*, (occurred_at - pg_catalog.lag(occurred_at) OVER (
        PARTITION BY account, livemode, customer_id, currency, amount
        ORDER BY occurred_at, is_payment, key)) > interval '1 hour' AS begins
    FROM sides s
),
clustered AS (
    SELECT s.*, pg_catalog.count(*) FILTER (WHERE begins) OVER (
        PARTITION BY account, livemode, customer_id, currency, amount
        ORDER BY occurred_at, is_payment, key ROWS UNBOUNDED PRECEDING) AS cluster
    FROM stepped s
),
placed AS (
    SELECT is_payment, key,
        pg_catalog.row_number() OVER (PARTITION BY account, livemode, customer_id, currency, amount, cluster, is_payment
                           ORDER BY claims, occurred_at, key) AS place,
        pg_catalog.sum(1 - is_payment) OVER same AS invoices,
        pg_catalog.sum(is_payment) OVER same AS payments
    FROM clustered
    WINDOW same AS (PARTITION BY account, livemode, customer_id, currency, amount, cluster)
),
matched AS MATERIALIZED (
    SELECT is_payment, key FROM placed WHERE place <= CASE WHEN is_payment = 1 THEN invoices ELSE payments END
),
-- Refunds. Releasing an amount that was never captured is not a refund.
refunds AS MATERIALIZED (
    SELECT r.*, p.amount_minor AS captured,
        CASE WHEN p.name IS NULL THEN r.amount_minor
            WHEN r.uncaptured_minor > 0 AND r.uncaptured_minor = p.uncaptured_minor AND pg_catalog.row_number() OVER (
                PARTITION BY r.payment, r.uncaptured_minor ORDER BY r.amount_minor <> 0, r.occurred_at, r.key) = 1
            THEN 0
            ELSE least(r.amount_minor, -r.uncaptured_minor) END AS moved
    FROM entries r LEFT JOIN payments p ON p.name = r.payment
    WHERE r.kind = 'refund' AND r.payment IS NOT NULL
),
totals AS (
    SELECT t.*, p.amount_minor AS captured,
        least(0, t.amount_minor
            + CASE WHEN p.uncaptured_minor > 0 AND t.uncaptured_minor >= p.uncaptured_minor
                THEN p.uncaptured_minor ELSE 0 END
            + coalesce((SELECT pg_catalog.sum(s.voided_minor) FROM refunds s
                        WHERE s.payment = t.payment AND s.as_of >= t.as_of), 0)
            - coalesce((SELECT pg_catalog.sum(s.moved) FROM refunds s WHERE s.payment = t.payment), 0)) AS moved
    FROM (
        SELECT e.*, pg_catalog.row_number() OVER (PARTITION BY e.payment ORDER BY e.version DESC, e.key DESC) AS place
        FROM entries e WHERE e.kind = 'refund_total' AND e.payment IS NOT NULL
    ) t LEFT JOIN payments p ON p.name = t.payment
    WHERE t.place = 1
),
returned AS (
    SELECT kind, key, account, livemode, currency, occurred_at, captured, moved, pg_catalog.sum(-moved) OVER (
        PARTITION BY payment ORDER BY kind, occurred_at, key ROWS UNBOUNDED PRECEDING) AS so_far
    FROM (
        SELECT kind, key, account, livemode, currency, occurred_at, captured, moved, payment FROM refunds
        UNION ALL
        SELECT kind, key, account, livemode, currency, occurred_at, captured, moved, payment FROM totals) r
)
SELECT m.kind, m.key, m.account, m.livemode, m.currency, m.occurred_at, m.amount_minor::bigint AS amount_minor,
    m.outside_minor::bigint AS outside_minor
FROM (
    SELECT 'invoice' AS kind, i.key, i.account, i.livemode, i.currency, i.occurred_at, i.amount_minor,
        i.outside + CASE WHEN m.key IS NULL THEN least(i.claim, i.left_over) ELSE 0 END AS outside_minor
    FROM left_of_invoices i LEFT JOIN matched m ON m.is_payment = 0 AND m.key = i.key
    UNION ALL
    SELECT 'payment', p.key, p.account, p.livemode, p.currency, p.occurred_at,
        CASE WHEN m.key IS NULL THEN p.rest ELSE p.promised END, 0
    FROM left_of_payments p LEFT JOIN matched m ON m.is_payment = 1 AND m.key = p.key
    UNION ALL
    SELECT 'part', p.key, p.account, p.livemode, p.currency, p.occurred_at, p.amount_minor, p.outside_minor
    FROM parts p
    WHERE NOT EXISTS (SELECT FROM payments k WHERE k.name = p.name)
      AND NOT EXISTS (SELECT FROM invoices i WHERE i.key = p.invoice_id)
    UNION ALL
    SELECT kind, key, account, livemode, currency, occurred_at,
        CASE WHEN captured IS NULL THEN moved
            ELSE least(so_far + moved, greatest(0, captured)) - least(so_far, greatest(0, captured)) END, 0
    FROM returned
    UNION ALL
    SELECT e.kind, e.key, e.account, e.livemode, e.currency, e.occurred_at, e.amount_minor, 0
    FROM entries e
    WHERE e.kind = 'dispute' OR (e.kind IN ('refund', 'refund_total') AND e.payment IS NULL)
) m;
