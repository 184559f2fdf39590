-- Erases a person's data, step by step: find, mark, events, rows (`src/ledger/erase.rs` has the form of each request).
--
-- The payloads of events and the raw objects of customers and subscriptions are reduced to ids, types and times. Users named by
-- metadata and the bindings to the user are removed. The records of accounting stay: amounts, currencies, dates, states and
-- Stripe's identifiers.
CREATE OR REPLACE FUNCTION gateway.erase(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    -- The operator is told that the data is gone, so the commit has to survive a crash: it waits for the disk.
    IF pg_catalog.current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN CASE request ->> 'op'
        WHEN 'find' THEN gateway.erase_find(request -> 'subject', (request ->> 'most')::integer)
        WHEN 'mark' THEN gateway.erase_mark(request -> 'person', true)
        WHEN 'unmark' THEN gateway.erase_mark(request -> 'person', false)
        WHEN 'events' THEN gateway.erase_events(
            request -> 'person', request ->> 'after', (request ->> 'most')::integer, (request ->> 'dry_run')::boolean)
        WHEN 'rows' THEN gateway.erase_rows(request -> 'person', (request ->> 'dry_run')::boolean)
    END;
END
$$;
