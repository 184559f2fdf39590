-- Decides which of an object's kept contents its row is, after its events were recorded. Returns whether the row changed. `truth`
-- is `stripe_subscriptions`, `stripe_customers` or `vouched_subscriptions`.
--
-- These contents are kept: all of the newest moment and kind if there are several (`gateway.last_of` tells the last of them); and
-- if one of them lists only a part of its items, also the newest content that listed all. The vouched state is made here alone,
-- so of it even a single content is kept. Of several renderings of one event the newest is kept. The result depends on the set of
-- contents alone.
--
-- The finding about an undecided order is about the present row, and goes when something newer comes. The vouched state has such
-- a finding only if the contents give different things. As `src/ledger/sqlite/settle.rs`; a version's first 24 letters are its
-- moment and kind.
CREATE OR REPLACE FUNCTION gateway.settle(truth text, object text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    is_vouched boolean := truth = 'vouched_subscriptions';
    has_parts boolean := truth <> 'stripe_customers';
    kept text[];
    stay text[];
    newest text;
    tied text[];
    any_partial boolean;
    -- How many different things the contents of the newest moment give.
    preferences bigint;
    winner text;
    proof text := 'whole';
    undecided text := CASE WHEN is_vouched THEN 'vouched_order_undecided' ELSE 'order_undecided' END;
    changed boolean;
BEGIN
    WITH contents AS MATERIALIZED (
        SELECT k.version, k.partial, k.preference FROM gateway.kept_subscriptions k
        WHERE truth = 'stripe_subscriptions' AND k.id = object
        UNION ALL
        SELECT k.version, false, NULL FROM gateway.kept_customers k WHERE truth = 'stripe_customers' AND k.id = object
        UNION ALL
        SELECT k.version, k.partial, k.preference FROM gateway.kept_vouched k WHERE is_vouched AND k.id = object
    ), placed AS (
        SELECT c.*, pg_catalog.left(c.version, 24) AS moment,
            pg_catalog.max(c.version) OVER (PARTITION BY gateway.event_of(c.version)) = c.version AS is_rendering,
            pg_catalog.left(pg_catalog.max(c.version) OVER (), 24) AS newest
        FROM contents c
    ), told AS (
        SELECT p.*, p.moment = p.newest AS is_newest,
            pg_catalog.max(p.version) FILTER (WHERE p.is_rendering AND NOT p.partial) OVER () AS whole,
            pg_catalog.bool_or(p.is_rendering AND p.partial AND p.moment = p.newest) OVER () AS parts
        FROM placed p
    )
    SELECT pg_catalog.array_agg(t.version), pg_catalog.max(t.newest), coalesce(pg_catalog.bool_or(t.parts), false),
        pg_catalog.array_agg(t.version) FILTER (WHERE t.is_rendering AND (t.is_newest OR t.parts AND t.version = t.whole)),
        pg_catalog.array_agg(t.version ORDER BY t.version) FILTER (WHERE t.is_rendering AND t.is_newest),
        pg_catalog.count(DISTINCT t.preference) FILTER (WHERE t.is_rendering AND t.is_newest)
    INTO kept, newest, any_partial, stay, tied, preferences FROM told t;
    IF newest IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM gateway.findings f
    WHERE f.code = undecided AND f.subject = object
      AND f.event_id = ANY (ARRAY(SELECT gateway.event_of(v) FROM pg_catalog.unnest(kept) v));
    -- Of fetched contents, the one whose request was sent last.
    IF pg_catalog.substr(newest, 24, 1) >= '4' THEN
        tied := tied[pg_catalog.cardinality(tied):];
    END IF;
    IF pg_catalog.cardinality(tied) < 2 AND NOT any_partial AND NOT is_vouched THEN
        PERFORM gateway.keep_only(truth, object, '{}');
        IF has_parts THEN
            UPDATE gateway.stripe_subscriptions t SET tied = false WHERE t.id = object AND t.tied;
        ELSE
            UPDATE gateway.stripe_customers t SET tied = false WHERE t.id = object AND t.tied;
        END IF;
        RETURN false;
    END IF;
    IF pg_catalog.cardinality(stay) < pg_catalog.cardinality(kept) THEN
        PERFORM gateway.keep_only(truth, object, stay);
    END IF;

    winner := tied[pg_catalog.cardinality(tied)];
    IF pg_catalog.cardinality(tied) > 1 THEN
        SELECT l.version, l.proof INTO winner, proof
        FROM gateway.last_of(
            gateway.moments_before(
                object,
                CASE WHEN has_parts THEN '^customer\.subscription\.' ELSE '^customer\.(created|updated|deleted)$' END,
                pg_catalog.to_timestamp(pg_catalog.substr(newest, 3, 20)::bigint / 1000.0),
                pg_catalog.substr(newest, 24, 1)::integer),
            (SELECT pg_catalog.jsonb_agg(
                gateway.told((SELECT e.payload FROM gateway.events e WHERE e.id = gateway.event_of(v)))
                || pg_catalog.jsonb_build_object('version', v)) FROM pg_catalog.unnest(tied) v)) l;
    END IF;
    changed := gateway.take_kept(truth, object, winner, pg_catalog.cardinality(tied) > 1);
    IF proof <> 'whole' AND (NOT is_vouched OR preferences > 1) THEN
        INSERT INTO gateway.findings (event_id, code, subject, severity, detail)
        VALUES (gateway.event_of(winner), undecided, object,
            CASE proof WHEN 'open' THEN 'warning' ELSE 'info' END,
            CASE WHEN is_vouched THEN 'events of one second that no rule holds do not tell which of them is the last; access follows '
                                      'the likeliest of them, until a later event, a release or reconcile'
                WHEN proof = 'open' THEN 'events of one second do not tell which of them is the last; one was taken, until a '
                                        'later event or reconcile'
                ELSE 'events of one second lack a change between them; the likeliest order was taken, until a later event' END)
        ON CONFLICT (event_id, code, subject) DO NOTHING;
    END IF;
    RETURN changed;
END
$$;
