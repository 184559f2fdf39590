-- Records the events that are not `known` with what became of them, and all that rules said about them.
CREATE OR REPLACE FUNCTION gateway.record_events(batch jsonb, known integer[], outcomes jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    INSERT INTO gateway.events AS t (
        id, type, account, livemode, created, api_version, object_id, payload, outcome, rule, reason, recorded_at)
    SELECT d.id, d.type, d.account, d.livemode, d.created, d.api_version, d.object_id, d.payload,
           b.became ->> 'outcome', b.became ->> 'rule', b.became ->> 'reason', pg_catalog.now()
    FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS d (
        n integer, id text, type text, account text, livemode boolean, created timestamptz, api_version text,
        object_id text, payload jsonb)
    CROSS JOIN LATERAL (SELECT outcomes -> d.n::text OFFSET 0) AS b (became)
    WHERE d.n <> ALL (known)
    ON CONFLICT (id) DO UPDATE SET
        outcome = excluded.outcome, rule = excluded.rule, reason = excluded.reason,
        recorded_at = excluded.recorded_at;

    IF batch -> 'decisions' <> '[]' THEN
        INSERT INTO gateway.guardian_decisions AS t (event_id, rule, severity, action, reason)
        SELECT d.event_id, d.rule, d.severity, d.action, d.reason
        FROM pg_catalog.jsonb_to_recordset(batch -> 'decisions') AS d (
            n integer, event_id text, rule text, severity text, action text, reason text)
        WHERE d.n <> ALL (known)
        ON CONFLICT (event_id, rule) DO UPDATE SET
            severity = excluded.severity, action = excluded.action, reason = excluded.reason;
    END IF;
END
$$;
