-- Merges the money, and records findings. The other objects that a row names never change, nor does the amount that came around
-- Stripe. One version may lack what another has, so the names and the greatest such amount are kept whichever version has them.
CREATE OR REPLACE FUNCTION gateway.merge_money(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF batch -> 'revenue' <> '[]' THEN
        INSERT INTO gateway.revenue_entries AS t (
            kind, key, version, as_of, account, livemode, amount_minor, outside_minor, uncaptured_minor, voided_minor,
            currency, occurred_at, payment_id, charge_id, invoice_id, subscription_id, customer_id, user_id, status)
        SELECT DISTINCT ON (d.kind, d.key)
            d.kind, d.key, d.version, d.as_of, d.account, d.livemode, d.amount_minor,
            pg_catalog.max(d.outside_minor) OVER names, d.uncaptured_minor, d.voided_minor, d.currency, d.occurred_at,
            pg_catalog.max(d.payment_id) OVER names, pg_catalog.max(d.charge_id) OVER names, d.invoice_id,
            d.subscription_id, pg_catalog.max(d.customer_id) OVER names, d.user_id, d.status
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C", as_of timestamptz,
            account text, livemode boolean, amount_minor bigint, outside_minor bigint, uncaptured_minor bigint,
            voided_minor bigint, currency text, occurred_at timestamptz, payment_id text COLLATE "C",
            charge_id text COLLATE "C", invoice_id text, subscription_id text, customer_id text COLLATE "C",
            user_id text, status text)
        WHERE d.n <> ALL (refused)
        WINDOW names AS (PARTITION BY d.kind, d.key)
        ORDER BY d.kind, d.key, d.version DESC
        ON CONFLICT (kind, key) DO UPDATE SET
            version = greatest(t.version, excluded.version),
            as_of = CASE WHEN excluded.version > t.version THEN excluded.as_of ELSE t.as_of END,
            account = CASE WHEN excluded.version > t.version THEN excluded.account ELSE t.account END,
            livemode = CASE WHEN excluded.version > t.version THEN excluded.livemode ELSE t.livemode END,
            amount_minor = CASE WHEN excluded.version > t.version THEN excluded.amount_minor ELSE t.amount_minor END,
            outside_minor = greatest(t.outside_minor, excluded.outside_minor),
            uncaptured_minor = CASE WHEN excluded.version > t.version THEN excluded.uncaptured_minor ELSE t.uncaptured_minor END,
            voided_minor = CASE WHEN excluded.version > t.version THEN excluded.voided_minor ELSE t.voided_minor END,
            currency = CASE WHEN excluded.version > t.version THEN excluded.currency ELSE t.currency END,
            occurred_at = CASE WHEN excluded.version > t.version THEN excluded.occurred_at ELSE t.occurred_at END,
            invoice_id = CASE WHEN excluded.version > t.version THEN excluded.invoice_id ELSE t.invoice_id END,
            subscription_id = CASE WHEN excluded.version > t.version THEN excluded.subscription_id ELSE t.subscription_id END,
            user_id = CASE WHEN excluded.version > t.version THEN excluded.user_id ELSE t.user_id END,
            status = CASE WHEN excluded.version > t.version THEN excluded.status ELSE t.status END,
            payment_id = greatest(t.payment_id, excluded.payment_id),
            charge_id = greatest(t.charge_id, excluded.charge_id),
            customer_id = greatest(t.customer_id, excluded.customer_id)
        WHERE excluded.version > t.version OR (greatest(t.payment_id, excluded.payment_id),
                greatest(t.charge_id, excluded.charge_id), greatest(t.customer_id, excluded.customer_id),
                greatest(t.outside_minor, excluded.outside_minor))
            IS DISTINCT FROM (t.payment_id, t.charge_id, t.customer_id, t.outside_minor);
    END IF;

    IF batch -> 'links' <> '[]' THEN
        INSERT INTO gateway.payment_links AS t (payment_id, invoice_id, evidence, version)
        SELECT DISTINCT ON (d.payment_id, d.invoice_id) d.payment_id, d.invoice_id, d.evidence, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", invoice_id text COLLATE "C", evidence smallint,
            version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.payment_id, d.invoice_id, d.version DESC
        ON CONFLICT (payment_id, invoice_id) DO UPDATE SET evidence = excluded.evidence, version = excluded.version
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'findings' <> '[]' THEN
        INSERT INTO gateway.findings (event_id, code, subject, severity, detail)
        SELECT d.event_id, d.code, d.subject, d.severity, d.detail
        FROM pg_catalog.jsonb_to_recordset(batch -> 'findings') AS d (
            n integer, event_id text, code text, subject text, severity text, detail text)
        WHERE d.n <> ALL (refused)
        ON CONFLICT (event_id, code, subject) DO NOTHING;
    END IF;
END
$$;
