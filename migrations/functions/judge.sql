-- What becomes of each event, by its `n`. The rows of `refused` events are not merged, `known` events are not recorded, and
-- `gateway.settle` decides `doubtful` objects.
--
-- An event that is known is a duplicate, unless a person asks for it again (`replayed`). Then it depends on what is recorded:
--   nothing             as if it came for the first time
--   quarantined         judged anew: applied when nothing holds it back any more
--   dropped             as if it came for the first time: a person who dropped it asks for it by name
--   anything else       its rows are merged again by their version, so that what was lost or is older is written again
--                       and what is newer stays. Nothing is counted twice, since rows have their keys. The outcome is
--                       `applied` when a row changed, else `duplicate`.
-- An event that a person drops is recorded as dropped if it is new or quarantined. If it was applied before, it is a duplicate.
-- Once dropped it is a duplicate from then on, no matter who brings it.
-- An event to be applied that comes with a rule is held by that rule: its facts are merged, and it is quarantined. One that was
-- applied before was vouched for, whatever rules say now.
--
-- A payload may come in another API version than the recorded one. It is another rendering of the event, so its rows are merged
-- as on a replay; those of a rendering that a rule holds tell facts alone. A rendering that no rule holds vouches for the event,
-- whether it comes first or last. Until one does, the newest says which rule holds the event. A drop is about all renderings.
CREATE OR REPLACE FUNCTION gateway.judge(
    batch jsonb, OUT outcomes jsonb, OUT known integer[], OUT refused integer[], OUT doubtful text[])
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    changing integer[];
    with_rows integer[];
    -- Events that were applied before and are replayed, released or come in another rendering.
    again integer[];
    -- The recorded outcome of events that stay in quarantine or dropped.
    held jsonb;
BEGIN
    SELECT coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE NOT j.is_open), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE j.is_again), '{}'),
           coalesce(pg_catalog.array_agg(j.n) FILTER (WHERE NOT j.is_accepted), '{}'),
           coalesce(pg_catalog.jsonb_object_agg(j.n, pg_catalog.jsonb_build_object(
                'n', j.n, 'outcome', j.outcome, 'rule', CASE WHEN j.is_newest THEN j.held_by ELSE j.rule END,
                'reason', CASE WHEN j.is_newest THEN j.held_for ELSE j.reason END))
                FILTER (WHERE NOT j.is_open AND (j.outcome = 'quarantined' OR j.outcome = 'dropped' AND j.is_drop)), '{}')
    INTO known, again, refused, held
    FROM (
        SELECT i.n, i.outcome, i.rule, i.reason, i.held_by, i.held_for, i.is_open, i.is_again, i.is_drop,
               i.is_other AND i.held_by IS NOT NULL AND i.is_newest AS is_newest,
               i.applies AND (i.is_open OR i.is_again OR i.is_other) AS is_accepted
        FROM (
            SELECT e.n, k.outcome, k.rule, k.reason, e.rule AS held_by, e.reason AS held_for, o.is_other,
                   e.verdict = 'apply' AS applies, e.verdict = 'drop' AS is_drop,
                   coalesce(e.api_version, '') COLLATE "C" > coalesce(k.api_version, '') COLLATE "C" AS is_newest,
                   k.id IS NULL OR (k.outcome IN ('quarantined', 'dropped')
                       AND (coalesce(e.released, false) OR coalesce(e.replayed, false)))
                       OR (k.outcome = 'quarantined' AND (e.verdict = 'drop'
                           OR o.is_other AND e.verdict IN ('apply', 'ignore') AND e.rule IS NULL)) AS is_open,
                   k.id IS NOT NULL AND k.outcome NOT IN ('quarantined', 'dropped')
                       AND (coalesce(e.released, false) OR coalesce(e.replayed, false) OR o.is_other)
                       AND e.verdict = 'apply' AND e.rule IS NULL AS is_again
            FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (
                n integer, id text COLLATE "C", verdict text, rule text, reason text, api_version text, released boolean,
                replayed boolean)
            LEFT JOIN LATERAL (
                SELECT x.id, x.outcome, x.rule, x.reason, x.api_version FROM gateway.events x WHERE x.id = e.id OFFSET 0
            ) k ON true
            CROSS JOIN LATERAL (
                SELECT k.id IS NOT NULL AND k.outcome <> 'dropped' AND e.verdict <> 'drop'
                    AND e.api_version IS DISTINCT FROM k.api_version AS is_other) o
        ) i
    ) j;

    SELECT c.changing, c.rows, c.doubtful INTO changing, with_rows, doubtful
    FROM gateway.changing_events(batch, refused) c;

    SELECT coalesce(pg_catalog.jsonb_object_agg(e.n, CASE
        WHEN e.n = ANY (again) AND e.n = ANY (changing) THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'applied')
        WHEN e.n = ANY (known) THEN
            coalesce(held -> e.n::text, pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'duplicate'))
        WHEN e.verdict = 'drop' THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'dropped', 'reason', e.reason)
        WHEN e.verdict = 'quarantine' OR e.verdict = 'apply' AND e.rule IS NOT NULL THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'quarantined', 'rule', e.rule, 'reason', e.reason)
        WHEN e.verdict = 'ignore' THEN pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'ignored')
        WHEN e.n = ANY (changing) OR NOT e.n = ANY (with_rows) THEN
            pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'applied')
        ELSE pg_catalog.jsonb_build_object('n', e.n, 'outcome', 'stale')
    END), '{}')
    INTO outcomes
    FROM pg_catalog.jsonb_to_recordset(batch -> 'events') AS e (n integer, verdict text, rule text, reason text);

    -- Events that were applied before are recorded again only if their outcome is new.
    IF again <> '{}' THEN
        known := ARRAY(
            SELECT n FROM pg_catalog.unnest(known) n
            WHERE NOT (n = ANY (again) AND n = ANY (changing)));
    END IF;
END
$$;
