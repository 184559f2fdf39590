-- Merges the money, and records findings.
CREATE OR REPLACE FUNCTION gateway.merge_money(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    IF batch -> 'revenue' <> '[]' THEN
        INSERT INTO gateway.revenue_entries AS t (
            kind, key, version, as_of, account, livemode, amount_minor, voided_minor, currency, occurred_at, payment_id,
            charge_id, invoice_id, subscription_id, customer_id, user_id, status, match_key)
        SELECT DISTINCT ON (d.kind, d.key)
            d.kind, d.key, d.version, d.as_of, d.account, d.livemode, d.amount_minor, d.voided_minor, d.currency,
            d.occurred_at, d.payment_id, d.charge_id, d.invoice_id, d.subscription_id, d.customer_id, d.user_id, d.status,
            d.match_key
        FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
            n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C", as_of timestamptz,
            account text, livemode boolean, amount_minor bigint, voided_minor bigint, currency text,
            occurred_at timestamptz, payment_id text, charge_id text, invoice_id text, subscription_id text,
            customer_id text, user_id text, status text, match_key text)
        WHERE d.n <> ALL (refused)
        ORDER BY d.kind, d.key, d.version DESC
        ON CONFLICT (kind, key) DO UPDATE SET
            version = excluded.version, as_of = excluded.as_of, account = excluded.account,
            livemode = excluded.livemode, amount_minor = excluded.amount_minor, voided_minor = excluded.voided_minor,
            currency = excluded.currency, occurred_at = excluded.occurred_at, payment_id = excluded.payment_id,
            charge_id = excluded.charge_id, invoice_id = excluded.invoice_id,
            subscription_id = excluded.subscription_id, customer_id = excluded.customer_id,
            user_id = excluded.user_id, status = excluded.status, match_key = excluded.match_key
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'links' <> '[]' THEN
        INSERT INTO gateway.payment_links AS t (payment_id, invoice_id, version)
        SELECT DISTINCT ON (d.payment_id) d.payment_id, d.invoice_id, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
            n integer, payment_id text COLLATE "C", invoice_id text, version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.payment_id, d.version DESC
        ON CONFLICT (payment_id) DO UPDATE SET invoice_id = excluded.invoice_id, version = excluded.version
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
