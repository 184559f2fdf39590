-- Makes the changes of a recount under the lock of batches, and tells of each whether it was made: {"money", "links",
-- "contents"}, each a list of flags. A row is replaced only if it is still the one that was found and the new one stands on a
-- payload that is still here. Contents of subscriptions and customers lose their version, so that the replays in `batch` write
-- them again by the rules of every batch.
CREATE OR REPLACE FUNCTION gateway.recount_mend(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    change jsonb;
    is_made boolean;
    money jsonb := '[]';
    links jsonb := '[]';
    contents jsonb := '[]';
    held_money gateway.revenue_entries;
    held_link gateway.payment_links;
    truth text;
    object text;
    place text;
    found_rows integer;
BEGIN
    PERFORM gateway.agree(request);
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    FOR change IN SELECT c FROM pg_catalog.jsonb_array_elements(request -> 'money') c LOOP
        is_made := gateway.recount_stands(coalesce(change #>> '{now,version}', change #>> '{held,version}'));
        IF is_made AND change -> 'held' <> 'null' THEN
            held_money := gateway.recount_money(change -> 'held');
            DELETE FROM gateway.revenue_entries t
            WHERE t.kind = held_money.kind AND t.key = held_money.key AND t.* IS NOT DISTINCT FROM held_money;
            is_made := FOUND;
        END IF;
        IF is_made AND change -> 'now' <> 'null' THEN
            INSERT INTO gateway.revenue_entries SELECT (gateway.recount_money(change -> 'now')).* ON CONFLICT DO NOTHING;
            is_made := FOUND;
        END IF;
        money := money || pg_catalog.to_jsonb(is_made);
    END LOOP;
    FOR change IN SELECT c FROM pg_catalog.jsonb_array_elements(request -> 'links') c LOOP
        is_made := gateway.recount_stands(coalesce(change #>> '{now,version}', change #>> '{held,version}'));
        IF is_made AND change -> 'held' <> 'null' THEN
            held_link := pg_catalog.jsonb_populate_record(NULL::gateway.payment_links, change -> 'held');
            DELETE FROM gateway.payment_links t
            WHERE t.payment_id = held_link.payment_id AND t.invoice_id = held_link.invoice_id
              AND t.* IS NOT DISTINCT FROM held_link;
            is_made := FOUND;
        END IF;
        IF is_made AND change -> 'now' <> 'null' THEN
            INSERT INTO gateway.payment_links
            SELECT * FROM pg_catalog.jsonb_populate_record(NULL::gateway.payment_links, change -> 'now')
            ON CONFLICT DO NOTHING;
            is_made := FOUND;
        END IF;
        links := links || pg_catalog.to_jsonb(is_made);
    END LOOP;
    FOR change IN SELECT c FROM pg_catalog.jsonb_array_elements(request -> 'contents') c LOOP
        truth := change ->> 'truth';
        object := change ->> 'id';
        place := change ->> 'version';
        EXECUTE pg_catalog.format('UPDATE gateway.%I t SET version = '''' WHERE t.id = $1 AND t.version = $2', 'stripe_' || truth)
        USING object, place;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        is_made := found_rows > 0;
        EXECUTE pg_catalog.format('DELETE FROM gateway.%I k WHERE k.id = $1 AND k.version = $2', 'kept_' || truth)
        USING object, place;
        GET DIAGNOSTICS found_rows = ROW_COUNT;
        is_made := is_made OR found_rows > 0;
        IF truth = 'subscriptions' THEN
            DELETE FROM gateway.kept_vouched k WHERE k.id = object AND k.version = place;
            is_made := is_made OR FOUND;
        END IF;
        contents := contents || pg_catalog.to_jsonb(is_made);
    END LOOP;
    IF contents @> 'true' THEN
        PERFORM gateway.apply_batch(request -> 'batch');
        FOR change IN SELECT c FROM pg_catalog.jsonb_array_elements(request -> 'contents') c LOOP
            -- The batch may have kept the row without a version once more beside the new one.
            EXECUTE pg_catalog.format('DELETE FROM gateway.%I k WHERE k.id = $1 AND k.version = ''''',
                'kept_' || (change ->> 'truth')) USING change ->> 'id';
            DELETE FROM gateway.kept_vouched k WHERE k.id = change ->> 'id' AND k.version = '';
            EXECUTE pg_catalog.format('SELECT count(*) FROM gateway.%I t WHERE t.id = $1 AND t.version = ''''',
                'stripe_' || (change ->> 'truth')) INTO found_rows USING change ->> 'id';
            IF found_rows > 0 THEN
                RAISE EXCEPTION 'the replays of this step left out a content that they had to write: nothing of the step was changed';
            END IF;
        END LOOP;
    END IF;
    RETURN pg_catalog.jsonb_build_object('money', money, 'links', links, 'contents', contents);
END
$$;
