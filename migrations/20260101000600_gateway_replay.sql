-- Replays: an event that a person asks for again is merged again, also if it was applied before.
--
-- An event of a batch may carry `replayed`. What it means, by what is recorded of the event:
--   nothing             as if it came for the first time
--   quarantined         judged anew: applied when nothing holds it back any more
--   anything else       its rows are merged again by their version, so that what was lost or is older is written again
--                       and what is newer stays. Nothing is counted twice, since rows have their keys. The outcome is
--                       `applied` when a row changed, else `duplicate`.
-- A replayed binding that is older than what is bound gives way silently, as it would have done in the right order. One
-- that is newer and says otherwise holds the event back: only a release re-points.

DROP FUNCTION IF EXISTS gateway.binding_conflicts(jsonb, integer[]);

-- Conflicts among the bindings of `fresh` events, decided one event after the other, as if each came in a batch of its
-- own; `again` are those that were applied before. Only called when there is at least one contradiction, which is rare.
CREATE OR REPLACE FUNCTION gateway.binding_conflicts(batch jsonb, fresh integer[], again integer[])
RETURNS TABLE (n integer, reason text)
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    -- What earlier events of this batch have bound: key to {"to", "version"}.
    claims jsonb := '{}';
    event record;
    claim record;
BEGIN
    FOR event IN
        SELECT (e ->> 'n')::integer AS n, (e ->> 'released')::boolean AS released,
               (e ->> 'n')::integer = ANY (again) AS again
        FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
        WHERE (e ->> 'n')::integer = ANY (fresh) ORDER BY 1
    LOOP
        reason := NULL;
        IF NOT event.released THEN
            SELECT b ->> 'kind' || ': ' || (b ->> 'from_id') || ' is bound to another, says ' || (b ->> 'evidence')
            INTO reason
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') WITH ORDINALITY AS given (b, place)
            LEFT JOIN gateway.customer_bindings t
                ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
              AND coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'to', t.to_id) <> b ->> 'to_id'
              AND (NOT event.again OR b ->> 'version' COLLATE "C"
                  > coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'version', t.version))
            ORDER BY place LIMIT 1;
        END IF;
        IF reason IS NOT NULL THEN
            n := event.n;
            RETURN NEXT;
            CONTINUE;
        END IF;
        FOR claim IN
            SELECT b ->> 'kind' || ' ' || (b ->> 'from_id') AS key, b ->> 'to_id' AS target, b ->> 'version' AS version,
                coalesce(claims -> (b ->> 'kind' || ' ' || (b ->> 'from_id')) ->> 'version', t.version) AS held
            FROM pg_catalog.jsonb_array_elements(batch -> 'bindings') b
            LEFT JOIN gateway.customer_bindings t ON t.kind = b ->> 'kind' AND t.from_id = b ->> 'from_id'
            WHERE (b ->> 'n')::integer = event.n AND (b ->> 'exclusive')::boolean
        LOOP
            IF claim.held IS NULL OR claim.version COLLATE "C" > claim.held THEN
                claims := claims || pg_catalog.jsonb_build_object(
                    claim.key, pg_catalog.jsonb_build_object('to', claim.target, 'version', claim.version));
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- What becomes of each event, by its `n`. `fresh` are the events to record, `accepted` those whose rows to merge.
CREATE OR REPLACE FUNCTION gateway.judge(
    batch jsonb, OUT outcomes jsonb, OUT fresh integer[], OUT accepted integer[])
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    conflicts jsonb := '{}';
    changing integer[];
    with_rows integer[];
    -- Replayed events that were applied before.
    again integer[];
BEGIN
    SELECT coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.is_open), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.is_again), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.applies AND (j.is_open OR j.is_again)), '{}')
    INTO fresh, again, accepted
    FROM (
        SELECT (e.e ->> 'n')::integer AS n, e.e ->> 'verdict' = 'apply' AS applies,
               k.id IS NULL OR (k.outcome = 'quarantined' AND (e.released OR e.replayed)) AS is_open,
               k.id IS NOT NULL AND k.outcome <> 'quarantined' AND e.replayed AND e.e ->> 'verdict' = 'apply' AS is_again
        FROM (
            SELECT d AS e, coalesce((d ->> 'released')::boolean, false) AS released,
                   coalesce((d ->> 'replayed')::boolean, false) AS replayed
            FROM pg_catalog.jsonb_array_elements(batch -> 'events') d
        ) e
        LEFT JOIN gateway.events k ON k.id = e.e ->> 'id'
    ) j;

    IF gateway.bindings_disagree(batch, accepted) THEN
        SELECT coalesce(pg_catalog.jsonb_object_agg(c.n::text, c.reason), '{}') INTO conflicts
        FROM gateway.binding_conflicts(batch, accepted, again) c;
        accepted := ARRAY(SELECT n FROM pg_catalog.unnest(accepted) n WHERE NOT conflicts ? n::text);
    END IF;
    SELECT c.changing, c.rows INTO changing, with_rows FROM gateway.changing_events(batch, accepted) c;

    SELECT coalesce(pg_catalog.jsonb_object_agg(e ->> 'n', CASE
        WHEN conflicts ? (e ->> 'n') THEN pg_catalog.jsonb_build_object(
            'outcome', 'quarantined', 'rule', 'binding_conflict', 'reason', conflicts ->> (e ->> 'n'))
        WHEN (e ->> 'n')::integer = ANY (again) AND (e ->> 'n')::integer = ANY (changing) THEN
            pg_catalog.jsonb_build_object('outcome', 'applied')
        WHEN NOT (e ->> 'n')::integer = ANY (fresh) AND k.outcome = 'quarantined' THEN
            pg_catalog.jsonb_build_object('outcome', 'quarantined', 'rule', k.rule, 'reason', k.reason)
        WHEN NOT (e ->> 'n')::integer = ANY (fresh) THEN pg_catalog.jsonb_build_object('outcome', 'duplicate')
        WHEN e ->> 'verdict' = 'quarantine' THEN
            pg_catalog.jsonb_build_object('outcome', 'quarantined', 'rule', e ->> 'rule', 'reason', e ->> 'reason')
        WHEN e ->> 'verdict' = 'ignore' THEN pg_catalog.jsonb_build_object('outcome', 'ignored')
        WHEN (e ->> 'n')::integer = ANY (changing) OR NOT (e ->> 'n')::integer = ANY (with_rows) THEN
            pg_catalog.jsonb_build_object('outcome', 'applied')
        ELSE pg_catalog.jsonb_build_object('outcome', 'stale')
    END), '{}')
    INTO outcomes
    FROM pg_catalog.jsonb_array_elements(batch -> 'events') e
    LEFT JOIN gateway.events k ON k.id = e ->> 'id';

    -- Of what was applied before, only a new outcome is recorded.
    fresh := fresh || ARRAY(
        SELECT n FROM pg_catalog.unnest(again) n WHERE n = ANY (changing) OR conflicts ? n::text);
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260101000600, 'gateway_replay')
ON CONFLICT (version) DO NOTHING;
