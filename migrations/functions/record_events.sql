-- Records the events that are not `known` with their outcome, and everything that rules said about them. Of several renderings of
-- one event, the payload of the newest API version is recorded, and while the event is held, the rule that holds this one. For a
-- dropped event the ledger may have only what the inbox told of it. If such an event is applied after all, its own data replaces
-- that.
CREATE OR REPLACE FUNCTION gateway.record_events(batch jsonb, known integer[], outcomes jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    rendered record;
    -- Other renderings of known events.
    others integer[] := '{}';
BEGIN
    IF known <> '{}' THEN
        FOR rendered IN
            SELECT d.n, d.id, d.api_version, d.rule, d.reason, batch #> ARRAY['payloads', d.n::text] AS payload,
                coalesce(d.api_version, '') COLLATE "C" > coalesce(k.before, '') COLLATE "C" AS is_newest
            FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS d (
                n integer, id text COLLATE "C", verdict text, api_version text, rule text, reason text)
            CROSS JOIN LATERAL (
                SELECT x.api_version, x.outcome FROM gateway.events x WHERE x.id = d.id OFFSET 0) AS k (before, outcome)
            WHERE d.n = ANY (known) AND d.verdict <> 'drop' AND k.outcome <> 'dropped'
              AND d.api_version IS DISTINCT FROM k.before
        LOOP
            others := others || rendered.n;
            CONTINUE WHEN NOT rendered.is_newest;
            UPDATE gateway.events t SET
                api_version = rendered.api_version, payload = rendered.payload, reduced = false,
                rule = CASE t.outcome WHEN 'quarantined' THEN rendered.rule ELSE t.rule END,
                reason = CASE t.outcome WHEN 'quarantined' THEN rendered.reason ELSE t.reason END
            WHERE t.id = rendered.id;
        END LOOP;
    END IF;
    INSERT INTO gateway.events AS t (
        id, type, account, livemode, created, api_version, object_id, payload, outcome, rule, reason, recorded_at)
    SELECT d.id, d.type, d.account, d.livemode, d.created, d.api_version, d.object_id,
           batch #> ARRAY['payloads', d.n::text],
           b.became ->> 'outcome', b.became ->> 'rule', b.became ->> 'reason', pg_catalog.now()
    FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS d (
        n integer, id text, type text, account text, livemode boolean, created timestamptz, api_version text,
        object_id text)
    CROSS JOIN LATERAL (SELECT outcomes -> d.n::text OFFSET 0) AS b (became)
    WHERE d.n <> ALL (known)
    ON CONFLICT (id) DO UPDATE SET
        outcome = excluded.outcome, rule = excluded.rule, reason = excluded.reason,
        recorded_at = excluded.recorded_at,
        livemode = CASE t.outcome WHEN 'dropped' THEN excluded.livemode ELSE t.livemode END,
        created = CASE t.outcome WHEN 'dropped' THEN excluded.created ELSE t.created END,
        object_id = CASE t.outcome WHEN 'dropped' THEN excluded.object_id ELSE t.object_id END,
        api_version = CASE WHEN t.outcome = 'dropped' OR excluded.outcome <> 'dropped'
                AND coalesce(excluded.api_version, '') COLLATE "C" > coalesce(t.api_version, '') COLLATE "C"
            THEN excluded.api_version ELSE t.api_version END,
        reduced = t.reduced AND NOT ((t.outcome = 'dropped' OR excluded.outcome <> 'dropped')
            AND coalesce(excluded.api_version, '') COLLATE "C" > coalesce(t.api_version, '') COLLATE "C"),
        payload = CASE WHEN t.outcome = 'dropped' OR excluded.outcome <> 'dropped'
                AND coalesce(excluded.api_version, '') COLLATE "C" > coalesce(t.api_version, '') COLLATE "C"
            THEN excluded.payload ELSE t.payload END;

    IF batch -> 'decisions' <> '[]' THEN
        -- Where several renderings meet one rule, the graver decision stands, unless a person asks.
        INSERT INTO gateway.guardian_decisions AS t (event_id, rule, severity, action, reason)
        SELECT d.event_id, d.rule, d.severity, d.action, d.reason
        FROM pg_catalog.jsonb_to_recordset(batch -> 'decisions') AS d (
            n integer, event_id text, rule text, severity text, action text, reason text)
        WHERE d.n <> ALL (known) OR d.n = ANY (others)
        ON CONFLICT (event_id, rule) DO UPDATE SET
            severity = excluded.severity, action = excluded.action, reason = excluded.reason
        WHERE (excluded.action, excluded.reason COLLATE "C") > (t.action, t.reason COLLATE "C")
           OR EXISTS (
               SELECT FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (id text, released boolean, replayed boolean)
               WHERE e.id = excluded.event_id AND (coalesce(e.released, false) OR coalesce(e.replayed, false)));
    END IF;
END
$$;
