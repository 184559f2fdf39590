-- Records what the database now has, as `colony_gateway.shipment` says, and gives roles their rights on the views back.

INSERT INTO gateway.migrations (version, name, checksum)
SELECT s.version, s.name, s.checksum
FROM pg_catalog.jsonb_to_recordset(pg_catalog.current_setting('colony_gateway.shipment')::jsonb -> 'migrations') AS s (
    version integer, name text, checksum text)
ON CONFLICT (version) DO NOTHING;

DELETE FROM gateway.definitions d
WHERE d.name NOT IN (
    SELECT s.name
    FROM pg_catalog.jsonb_to_recordset(pg_catalog.current_setting('colony_gateway.shipment')::jsonb -> 'definitions')
        AS s (name text));

INSERT INTO gateway.definitions AS d (name, kind, checksum, release)
SELECT s.name, s.kind, s.checksum, pg_catalog.current_setting('colony_gateway.shipment')::jsonb ->> 'release'
FROM pg_catalog.jsonb_to_recordset(pg_catalog.current_setting('colony_gateway.shipment')::jsonb -> 'definitions') AS s (
    name text, kind text, checksum text)
ON CONFLICT (name) DO UPDATE SET
    kind = excluded.kind, checksum = excluded.checksum, release = excluded.release, applied_at = CASE
        WHEN d.checksum = excluded.checksum THEN d.applied_at ELSE excluded.applied_at END;

-- The form of the public tables may follow from other definitions now, so the next batch works it out again.
UPDATE gateway.shown_form SET stamp = '';

DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT * FROM pg_catalog.jsonb_to_recordset(
            coalesce(nullif(pg_catalog.current_setting('colony_gateway.grants', true), ''), '[]')::jsonb)
            AS g ("view" text, privilege text, role text)
        WHERE pg_catalog.to_regclass(g."view") IS NOT NULL
    LOOP
        EXECUTE pg_catalog.format('GRANT %s ON %s TO %I', given.privilege, given.view, given.role);
    END LOOP;
END
$$;
