-- The events that are not `refused` and have at least one row newer than what is stored and than what earlier events of the batch
-- bring; and, as `rows`, the events that have rows at all. `doubtful` are subscriptions and customers for which the greatest
-- version does not decide: either events tell several contents of one moment and kind (the first 24 letters of a version; fetched
-- contents are apart), or a content lists only a part. See `gateway.settle`.
--
-- Each list that has rows is asked by a statement of its own. Setting up one statement over all lists takes longer than running it.
CREATE OR REPLACE FUNCTION gateway.changing_events(
    batch jsonb, refused integer[], OUT changing integer[], OUT rows integer[], OUT doubtful text[])
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    newer integer[];
    present integer[];
    unclear text[];
BEGIN
    changing := '{}';
    rows := '{}';
    doubtful := '{}';
    IF batch -> 'subscriptions' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (
                WHERE NOT p.suspect AND p.version > coalesce(p.held, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n) FILTER (WHERE NOT p.suspect),
            pg_catalog.array_agg(DISTINCT p.id) FILTER (
                WHERE p.doubt OR pg_catalog.substr(p.version, 24, 1) < '4' AND (
                    p.version <> p.stored AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.stored, 24)
                    OR p.version <> p.mate AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.mate, 24)))
        INTO newer, present, unclear
        FROM (
            -- A rule holds a suspect event, so its outcome is known. The others change the vouched state or nothing.
            SELECT d.n, d.id, d.version, d.suspect, t.version AS stored, d.partial OR coalesce(t.tied OR t.partial, false) AS doubt,
                CASE WHEN EXISTS (SELECT FROM gateway.doubted_subscriptions x WHERE x.id = d.id)
                    THEN (SELECT v.version FROM gateway.vouched_subscriptions v WHERE v.id = d.id)
                    ELSE t.version END AS held,
                pg_catalog.max(d.version) FILTER (WHERE NOT d.suspect) OVER earlier AS before,
                pg_catalog.max(d.version) OVER earlier AS mate
            FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
                n integer, suspect boolean, id text COLLATE "C", version text COLLATE "C", partial boolean)
            LEFT JOIN LATERAL (
                SELECT s.version, s.tied, s.partial FROM gateway.stripe_subscriptions s WHERE s.id = d.id OFFSET 0) t ON true
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (PARTITION BY d.id ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
        doubtful := doubtful || unclear;
    END IF;
    IF batch -> 'customers' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (WHERE p.version > coalesce(p.stored, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n),
            pg_catalog.array_agg(DISTINCT p.id) FILTER (
                WHERE p.doubt OR pg_catalog.substr(p.version, 24, 1) < '4' AND (
                    p.version <> p.stored AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.stored, 24)
                    OR p.version <> p.before AND pg_catalog.left(p.version, 24) = pg_catalog.left(p.before, 24)))
        INTO newer, present, unclear
        FROM (
            SELECT d.n, d.id, d.version, t.version AS stored, coalesce(t.tied, false) AS doubt,
                pg_catalog.max(d.version) OVER earlier AS before
            FROM pg_catalog.jsonb_to_recordset(batch -> 'customers') AS d (n integer, id text COLLATE "C", version text COLLATE "C")
            LEFT JOIN LATERAL (SELECT c.version, c.tied FROM gateway.stripe_customers c WHERE c.id = d.id OFFSET 0) t ON true
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (PARTITION BY d.id ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
        doubtful := doubtful || unclear;
    END IF;
    IF batch -> 'bindings' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (WHERE p.version > coalesce(p.stored, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n)
        INTO newer, present
        FROM (
            SELECT d.n, d.version,
                (SELECT t.version FROM gateway.customer_bindings t WHERE t.kind = d.kind AND t.from_id = d.from_id) AS stored,
                pg_catalog.max(d.version) OVER earlier AS before
            FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS d (
                n integer, kind text COLLATE "C", from_id text COLLATE "C", version text COLLATE "C")
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (PARTITION BY d.kind, d.from_id ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
    END IF;
    IF batch -> 'claims' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (WHERE p.version > coalesce(p.stored, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n)
        INTO newer, present
        FROM (
            SELECT d.n, d.version,
                (SELECT t.version FROM gateway.claims t
                 WHERE t.subject = d.subject AND t.rank = d.rank AND t.user_id = d.user_id) AS stored,
                pg_catalog.max(d.version) OVER earlier AS before
            FROM pg_catalog.jsonb_to_recordset(batch -> 'claims') AS d (
                n integer, subject text COLLATE "C", rank smallint, user_id text COLLATE "C", version text COLLATE "C")
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (
                PARTITION BY d.subject, d.rank, d.user_id ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
    END IF;
    IF batch -> 'revenue' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (WHERE p.version > coalesce(p.stored, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n)
        INTO newer, present
        FROM (
            SELECT d.n, d.version,
                (SELECT t.version FROM gateway.revenue_entries t WHERE t.kind = d.kind AND t.key = d.key) AS stored,
                pg_catalog.max(d.version) OVER earlier AS before
            FROM pg_catalog.jsonb_to_recordset(batch -> 'revenue') AS d (
                n integer, kind text COLLATE "C", key text COLLATE "C", version text COLLATE "C")
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (PARTITION BY d.kind, d.key ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
    END IF;
    IF batch -> 'links' <> '[]' THEN
        SELECT pg_catalog.array_agg(p.n) FILTER (WHERE p.version > coalesce(p.stored, '') AND p.version > coalesce(p.before, '')),
            pg_catalog.array_agg(p.n)
        INTO newer, present
        FROM (
            SELECT d.n, d.version,
                (SELECT t.version FROM gateway.payment_links t
                 WHERE t.payment_id = d.payment_id AND t.invoice_id = d.invoice_id) AS stored,
                pg_catalog.max(d.version) OVER earlier AS before
            FROM pg_catalog.jsonb_to_recordset(batch -> 'links') AS d (
                n integer, payment_id text COLLATE "C", invoice_id text COLLATE "C", version text COLLATE "C")
            WHERE d.n <> ALL (refused)
            WINDOW earlier AS (
                PARTITION BY d.payment_id, d.invoice_id ORDER BY d.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) p;
        changing := changing || newer;
        rows := rows || present;
    END IF;
END
$$;
