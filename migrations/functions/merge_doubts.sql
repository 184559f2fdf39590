-- Keeps the vouched state of subscriptions of which a rule held an event, now or before. Goes before the truth is merged:
-- the row of a subscription of which none was held before is made of vouched events alone, and is copied.
CREATE OR REPLACE FUNCTION gateway.merge_doubts(batch jsonb, refused integer[]) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    IF pg_catalog.jsonb_path_exists(batch, '$.subscriptions[*] ? (@.suspect == true)') THEN
        WITH marked AS (
            INSERT INTO gateway.doubted_subscriptions AS t (id)
            SELECT DISTINCT d.id
            FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
                n integer, suspect boolean, id text COLLATE "C")
            WHERE d.suspect AND d.n <> ALL (refused)
            ON CONFLICT (id) DO NOTHING
            RETURNING t.id
        )
        INSERT INTO gateway.vouched_subscriptions (
            id, version, customer_id, projected_status, entitles, preference, tier, metadata_user_id)
        SELECT s.id, s.version, s.customer_id, s.projected_status, s.entitles, s.preference, s.tier, s.metadata_user_id
        FROM marked m
        CROSS JOIN LATERAL (SELECT t.* FROM gateway.stripe_subscriptions t WHERE t.id = m.id OFFSET 0) s;
    ELSIF NOT EXISTS (SELECT FROM gateway.doubted_subscriptions) THEN
        RETURN;
    END IF;
    INSERT INTO gateway.vouched_subscriptions AS t (
        id, version, customer_id, projected_status, entitles, preference, tier, metadata_user_id)
    SELECT DISTINCT ON (d.id)
        d.id, d.version, d.customer_id, d.projected_status, d.entitles, d.preference, d.tier, d.metadata_user_id
    FROM pg_catalog.jsonb_to_recordset(batch -> 'subscriptions') AS d (
        n integer, suspect boolean, id text COLLATE "C", version text COLLATE "C", customer_id text,
        projected_status text, entitles boolean, preference text, tier text, metadata_user_id text)
    WHERE NOT d.suspect AND d.n <> ALL (refused)
      AND (SELECT x.id FROM gateway.doubted_subscriptions x WHERE x.id = d.id) IS NOT NULL
    ORDER BY d.id, d.version DESC
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version, customer_id = excluded.customer_id, projected_status = excluded.projected_status,
        entitles = excluded.entitles, preference = excluded.preference, tier = excluded.tier,
        metadata_user_id = excluded.metadata_user_id
    WHERE excluded.version > t.version;
END
$$;
