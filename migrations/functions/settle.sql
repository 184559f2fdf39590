-- Says which of the contents that are kept of an object its row is, after its events were recorded. Tells whether the row is
-- another than before. `truth` is `stripe_subscriptions`, `stripe_customers` or `vouched_subscriptions`.
--
-- Kept are all contents of the newest moment and kind, where there are several (`gateway.last_of` tells the last of them), and,
-- where one of them lists only a part of its items, the newest content that listed all; of the vouched state, of which the row
-- is made here alone, also a single one. Of several renderings of one event the newest is kept. All that depends on the set of
-- contents alone. The finding about an undecided order is about the present row: it goes when something newer comes. Of the
-- vouched state there is one only where what the contents give differs. As `src/ledger/sqlite/settle.rs`; a version's first 24 letters are its moment and kind.
CREATE OR REPLACE FUNCTION gateway.settle(truth text, object text) RETURNS boolean
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    is_vouched boolean := truth = 'vouched_subscriptions';
    kept text := CASE WHEN is_vouched THEN 'kept_vouched' ELSE pg_catalog.replace(truth, 'stripe_', 'kept_') END;
    has_parts boolean := truth <> 'stripe_customers';
    is_partial text := CASE WHEN has_parts THEN 'k.partial' ELSE 'false' END;
    newest text;
    tied text[];
    any_partial boolean;
    winner text;
    proof text := 'whole';
    undecided text := CASE WHEN is_vouched THEN 'vouched_order_undecided' ELSE 'order_undecided' END;
    is_told boolean := true;
    before text;
    after text;
BEGIN
    EXECUTE pg_catalog.format('SELECT pg_catalog.left(pg_catalog.max(k.version), 24) FROM gateway.%I k WHERE k.id = $1', kept)
    INTO newest USING object;
    IF newest IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE pg_catalog.format(
        'DELETE FROM gateway.findings f WHERE f.code = $2 AND f.subject = $1 AND f.event_id IN '
        '(SELECT gateway.event_of(k.version) FROM gateway.%I k WHERE k.id = $1)', kept) USING object, undecided;
    EXECUTE pg_catalog.format(
        'DELETE FROM gateway.%1$I k USING gateway.%1$I o WHERE k.id = $1 AND o.id = $1 AND o.version > k.version '
        'AND gateway.event_of(o.version) = gateway.event_of(k.version)', kept) USING object;
    EXECUTE pg_catalog.format(
        'DELETE FROM gateway.%1$I k WHERE k.id = $1 AND pg_catalog.left(k.version, 24) COLLATE "C" < $2 AND NOT ('
        'k.version = (SELECT pg_catalog.max(w.version) FROM gateway.%1$I w WHERE w.id = $1 AND NOT %2$s) '
        'AND EXISTS (SELECT FROM gateway.%1$I k WHERE k.id = $1 AND %3$s AND pg_catalog.left(k.version, 24) = $2))',
        kept, CASE WHEN has_parts THEN 'w.partial' ELSE 'false' END, is_partial) USING object, newest;
    EXECUTE pg_catalog.format(
        'SELECT coalesce(pg_catalog.array_agg(k.version::text ORDER BY k.version), ''{}''), '
        'coalesce(pg_catalog.bool_or(%s), false) FROM gateway.%I k WHERE k.id = $1 AND pg_catalog.left(k.version, 24) = $2',
        is_partial, kept) INTO tied, any_partial USING object, newest;
    -- Of what was fetched, the one that was asked for last.
    IF pg_catalog.substr(newest, 24, 1) >= '4' THEN
        tied := tied[pg_catalog.cardinality(tied):];
    END IF;
    IF pg_catalog.cardinality(tied) < 2 AND NOT any_partial AND NOT is_vouched THEN
        EXECUTE pg_catalog.format('DELETE FROM gateway.%I k WHERE k.id = $1', kept) USING object;
        EXECUTE pg_catalog.format('UPDATE gateway.%I t SET tied = false WHERE t.id = $1 AND t.tied', truth) USING object;
        RETURN false;
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
    EXECUTE pg_catalog.format('SELECT t.version || coalesce(pg_catalog.to_jsonb(t) ->> ''tier'', '''') FROM gateway.%I t '
                              'WHERE t.id = $1', truth) INTO before USING object;
    EXECUTE pg_catalog.format('DELETE FROM gateway.%I t WHERE t.id = $1', truth) USING object;
    EXECUTE pg_catalog.format(
        'INSERT INTO gateway.%I SELECT k.* FROM gateway.%I k WHERE k.id = $1 AND k.version = $2', truth, kept)
    USING object, winner;
    EXECUTE pg_catalog.format('UPDATE gateway.%I t SET tied = $2 WHERE t.id = $1', truth)
    USING object, pg_catalog.cardinality(tied) > 1;
    IF has_parts THEN
        PERFORM gateway.complete(truth, kept, object);
        PERFORM gateway.set_recheck(object);
    END IF;
    EXECUTE pg_catalog.format('SELECT t.version || coalesce(pg_catalog.to_jsonb(t) ->> ''tier'', '''') FROM gateway.%I t '
                              'WHERE t.id = $1', truth) INTO after USING object;
    IF proof <> 'whole' AND is_vouched THEN
        EXECUTE 'SELECT pg_catalog.count(DISTINCT k.preference) > 1 FROM gateway.kept_vouched k '
                'WHERE k.id = $1 AND k.version = ANY ($2)' INTO is_told USING object, tied;
    END IF;
    IF proof <> 'whole' AND is_told THEN
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
    RETURN before IS DISTINCT FROM after;
END
$$;
