-- Merges the truth: subscriptions and customers, who claims them, and what other objects tell of them. Each statement runs only
-- if there is something for it to do, because starting one costs time too.
CREATE OR REPLACE FUNCTION gateway.merge_truth(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF batch -> 'subscriptions' <> '[]' THEN
        INSERT INTO gateway.stripe_subscriptions AS t (
            id, version, source, account, livemode, customer_id, status, projected_status, entitles, access_from,
            preference, tier, tier_rank, price_id, product_id, quantity, currency, unit_amount, "interval", interval_count,
            items, partial, mrr_minor, resumed_mrr_minor, created, started_at, current_period_start, current_period_end,
            will_cancel, will_renew, cancel_at_period_end, cancel_at, canceled_at, ended_at, trial_start, trial_end,
            pause_behavior, pause_resumes_at, collection_method, grace_days, late_hint, recheck_at, latest_invoice_id,
            metadata_user_id, raw)
        SELECT DISTINCT ON (d.id)
            d.id, d.version, d.source, d.account, d.livemode, d.customer_id, d.status, d.projected_status, d.entitles,
            d.access_from, d.preference, d.tier, d.tier_rank, d.price_id, d.product_id, d.quantity, d.currency,
            d.unit_amount, d."interval", d.interval_count, d.items, d.partial, d.mrr_minor, d.resumed_mrr_minor, d.created,
            d.started_at, d.current_period_start, d.current_period_end, d.will_cancel, d.will_renew,
            d.cancel_at_period_end, d.cancel_at, d.canceled_at, d.ended_at, d.trial_start, d.trial_end, d.pause_behavior,
            d.pause_resumes_at, d.collection_method, d.grace_days, d.late_hint, d.access_from, d.latest_invoice_id,
            d.metadata_user_id, coalesce(d.raw, batch #> ARRAY['payloads', d.n::text, 'data', 'object'])
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C", source text, account text, livemode boolean,
            customer_id text, status text, projected_status text, entitles boolean, access_from timestamptz,
            preference text, tier text, tier_rank bigint, price_id text, product_id text, quantity bigint, currency text, unit_amount bigint, "interval" text,
            interval_count bigint, items bigint, partial boolean, mrr_minor bigint, resumed_mrr_minor bigint,
            created timestamptz, started_at timestamptz, current_period_start timestamptz,
            current_period_end timestamptz, will_cancel boolean, will_renew boolean,
            cancel_at_period_end boolean, cancel_at timestamptz, canceled_at timestamptz, ended_at timestamptz,
            trial_start timestamptz, trial_end timestamptz, pause_behavior text, pause_resumes_at timestamptz,
            collection_method text, grace_days bigint, late_hint timestamptz, latest_invoice_id text, metadata_user_id text, raw jsonb)
        WHERE d.n <> ALL (refused)
        ORDER BY d.id, d.version DESC
        ON CONFLICT (id) DO UPDATE SET
            version = excluded.version, source = excluded.source, account = excluded.account,
            livemode = excluded.livemode, customer_id = excluded.customer_id, status = excluded.status,
            projected_status = excluded.projected_status, entitles = excluded.entitles,
            access_from = excluded.access_from, tier_rank = excluded.tier_rank, partial = excluded.partial,
            resumed_mrr_minor = excluded.resumed_mrr_minor, will_renew = excluded.will_renew,
            collection_method = excluded.collection_method, grace_days = excluded.grace_days,
            late_hint = excluded.late_hint, late_since = NULL, grace_ends_at = NULL, recheck_at = excluded.recheck_at,
            tied = false, preference = excluded.preference, tier = excluded.tier, price_id = excluded.price_id,
            product_id = excluded.product_id, quantity = excluded.quantity, currency = excluded.currency,
            unit_amount = excluded.unit_amount, "interval" = excluded."interval",
            interval_count = excluded.interval_count, items = excluded.items, mrr_minor = excluded.mrr_minor,
            created = excluded.created, started_at = excluded.started_at,
            current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end,
            will_cancel = excluded.will_cancel, cancel_at_period_end = excluded.cancel_at_period_end,
            cancel_at = excluded.cancel_at, canceled_at = excluded.canceled_at, ended_at = excluded.ended_at,
            trial_start = excluded.trial_start, trial_end = excluded.trial_end,
            pause_behavior = excluded.pause_behavior, pause_resumes_at = excluded.pause_resumes_at,
            latest_invoice_id = excluded.latest_invoice_id, metadata_user_id = excluded.metadata_user_id,
            raw = excluded.raw
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'customers' <> '[]' THEN
        INSERT INTO gateway.stripe_customers AS t (
            id, version, source, account, livemode, deleted, currency, delinquent, balance_minor, metadata_user_id, raw)
        SELECT DISTINCT ON (d.id)
            d.id, d.version, d.source, d.account, d.livemode, d.deleted, d.currency, d.delinquent, d.balance_minor,
            d.metadata_user_id, coalesce(d.raw, batch #> ARRAY['payloads', d.n::text, 'data', 'object'])
        FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (
            n integer, id text COLLATE "C", version text COLLATE "C", source text, account text, livemode boolean,
            deleted boolean, currency text, delinquent boolean, balance_minor bigint, metadata_user_id text, raw jsonb)
        WHERE d.n <> ALL (refused)
        ORDER BY d.id, d.version DESC
        ON CONFLICT (id) DO UPDATE SET
            version = excluded.version, source = excluded.source, account = excluded.account,
            livemode = excluded.livemode, deleted = excluded.deleted, currency = excluded.currency,
            delinquent = excluded.delinquent, balance_minor = excluded.balance_minor,
            metadata_user_id = excluded.metadata_user_id, tied = false, raw = excluded.raw
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'claims' <> '[]' THEN
        INSERT INTO gateway.claims AS t (subject, rank, user_id, evidence, version)
        SELECT DISTINCT ON (d.subject, d.rank, d.user_id) d.subject, d.rank, d.user_id, d.evidence, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (
            n integer, subject text COLLATE "C", rank smallint, user_id text COLLATE "C", evidence text,
            version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.subject, d.rank, d.user_id, d.version DESC
        ON CONFLICT (subject, rank, user_id) DO UPDATE SET evidence = excluded.evidence, version = excluded.version
        WHERE excluded.version > t.version;
    END IF;

    IF batch -> 'bindings' <> '[]' THEN
        INSERT INTO gateway.customer_bindings AS t (kind, from_id, to_id, evidence, version)
        SELECT DISTINCT ON (d.kind, d.from_id) d.kind, d.from_id, d.to_id, d.evidence, d.version
        FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
            n integer, kind text COLLATE "C", from_id text COLLATE "C", to_id text, evidence text, version text COLLATE "C")
        WHERE d.n <> ALL (refused)
        ORDER BY d.kind, d.from_id, d.version DESC
        ON CONFLICT (kind, from_id) DO UPDATE SET
            to_id = excluded.to_id, evidence = excluded.evidence, version = excluded.version
        WHERE excluded.version > t.version;
    END IF;
END
$$;
