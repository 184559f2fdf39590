-- Keeps what the batch says of the vouched state of doubted subscriptions: those that have, or had, an event held by a
-- rule. Returns them; `gateway.settle` makes their state once the events are recorded. This runs before the truth is
-- merged: if no event of a subscription was held before, what is stored stems from vouched events alone, and is copied.
CREATE OR REPLACE FUNCTION gateway.merge_doubts(batch jsonb, refused integer[]) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    marked text[];
    doubted text[];
BEGIN
    IF pg_catalog.jsonb_path_exists(batch, '$.subscriptions[*] ? (@.suspect == true)') THEN
        WITH fresh AS (
            INSERT INTO gateway.doubted_subscriptions AS t (id)
            SELECT DISTINCT d.id
            FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
                n integer, suspect boolean, id text COLLATE "C")
            WHERE d.suspect AND d.n <> ALL (refused)
            ON CONFLICT (id) DO NOTHING
            RETURNING t.id
        )
        SELECT coalesce(pg_catalog.array_agg(f.id), '{}') INTO marked FROM fresh f;
        -- The contents that were kept come first: the row of a part has what the whole of before said in it.
        INSERT INTO gateway.kept_vouched
        SELECT k.* FROM gateway.kept_subscriptions k WHERE k.id = ANY (marked) ON CONFLICT DO NOTHING;
        INSERT INTO gateway.kept_vouched
        SELECT t.* FROM gateway.stripe_subscriptions t WHERE t.id = ANY (marked) ON CONFLICT DO NOTHING;
    ELSIF NOT EXISTS (SELECT FROM gateway.doubted_subscriptions) THEN
        RETURN '{}';
    END IF;
    doubted := ARRAY(
        SELECT DISTINCT d.id
        FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (n integer, id text COLLATE "C")
        WHERE d.n <> ALL (refused)
          AND (SELECT x.id FROM gateway.doubted_subscriptions x WHERE x.id = d.id) IS NOT NULL);
    IF doubted = '{}' THEN
        RETURN doubted;
    END IF;
    INSERT INTO gateway.kept_vouched
    SELECT r.* FROM pg_catalog.jsonb_array_elements(batch -> 'subscriptions') d,
    LATERAL pg_catalog.jsonb_populate_record(NULL::gateway.kept_vouched, pg_catalog.jsonb_build_object(
        'raw', batch #> ARRAY['payloads', d ->> 'n', 'data', 'object']) || d || '{"tied": false}') r
    WHERE d ->> 'id' = ANY (doubted) AND NOT (d ->> 'suspect')::boolean AND (d ->> 'n')::integer <> ALL (refused)
    ON CONFLICT DO NOTHING;
    -- Derived from other events, and worked out again.
    UPDATE gateway.kept_vouched k SET tied = false, late_since = NULL, grace_ends_at = NULL, recheck_at = NULL
    WHERE k.id = ANY (doubted);
    RETURN doubted;
END
$$;
