-- Which ledger this is, and what it has recorded of these events: {"ledger", "events": [{id, outcome, rule, reason}]}. An event
-- that is missing from the list is not recorded. (The identity is read by its key. Callers forbid scans, so a scan of the table
-- is priced so high that the server compiles the statement first, which takes hundreds of milliseconds.)
CREATE OR REPLACE FUNCTION gateway.witness(ids jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    PERFORM gateway.await_standby(ARRAY(SELECT pg_catalog.jsonb_array_elements_text(ids)));
    RETURN pg_catalog.jsonb_build_object(
        'ledger', (SELECT i.id FROM gateway.identity i WHERE i.only_row),
        'events', (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'id', e.id, 'rule', e.rule, 'reason', e.reason,
                -- A dropped event is done: to a sender it is a duplicate.
                'outcome', CASE e.outcome WHEN 'dropped' THEN 'duplicate' ELSE e.outcome END)), '[]')
            FROM pg_catalog.jsonb_array_elements_text(ids) asked JOIN gateway.events e ON e.id = asked));
END
$$;
