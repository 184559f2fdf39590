-- Makes room for functions and views whose text changed by removing the old ones. With a changed signature an old one would stay
-- beside the new one, or keep it from being made. Runs after the numbered files and before the definitions.
--
-- `colony_gateway.shipment` is what the database should have in the end: {"release", "migrations": [{version, name, checksum}],
-- "definitions": [{name, kind, checksum}]}.

DO $$
DECLARE
    shipment jsonb := pg_catalog.current_setting('colony_gateway.shipment')::jsonb;
    fault text;
    gone text[];
    routine pg_catalog.regprocedure;
BEGIN
    SELECT d.release INTO fault FROM gateway.definitions d
    WHERE pg_catalog.string_to_array(pg_catalog.split_part(d.release, '-', 1), '.')::integer[]
        > pg_catalog.string_to_array(pg_catalog.split_part(shipment ->> 'release', '-', 1), '.')::integer[] LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'this database was migrated by release %, this is %: use the later one', fault,
            shipment ->> 'release' USING ERRCODE = 'GW005';
    END IF;
    SELECT pg_catalog.lpad(m.version::text, 4, '0') || '_' || m.name INTO fault
    FROM gateway.migrations m
    JOIN pg_catalog.jsonb_to_recordset(shipment -> 'migrations') AS s (version integer, checksum text)
        ON s.version = m.version
    WHERE s.checksum <> m.checksum LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'migration % is not the one this database has: use the release that ran it or a later one', fault
            USING ERRCODE = 'GW005';
    END IF;

    gone := ARRAY(
        SELECT d.name FROM gateway.definitions d
        LEFT JOIN pg_catalog.jsonb_to_recordset(shipment -> 'definitions') AS s (name text, checksum text)
            ON s.name = d.name
        WHERE s.checksum IS DISTINCT FROM d.checksum);
    -- Roles that run the gateway lose their rights along with the functions. Their names are passed on, so that `privileges.sql`
    -- grants them again.
    PERFORM pg_catalog.set_config('colony_gateway.callers', (
        SELECT coalesce(pg_catalog.jsonb_agg(DISTINCT pg_catalog.pg_get_userbyid(a.grantee)), '[]')::text
        FROM pg_catalog.pg_proc p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
        WHERE p.pronamespace = 'public'::pg_catalog.regnamespace AND p.proname = 'gateway_apply_batch'
            AND a.privilege_type = 'EXECUTE' AND a.grantee NOT IN (0, p.proowner)), true);
    -- A view may use another, so all of them go when one does. The rights to read them are passed on to `record.sql`.
    IF EXISTS (SELECT FROM gateway.definitions d WHERE d.kind = 'view' AND d.name = ANY (gone)) THEN
        PERFORM pg_catalog.set_config('colony_gateway.grants', (
            SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'view', d.name, 'privilege', a.privilege_type, 'role', pg_catalog.pg_get_userbyid(a.grantee),
                'public', a.grantee = 0)), '[]')::text
            FROM gateway.definitions d
            JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(d.name)
            CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
            WHERE d.kind = 'view' AND a.grantee NOT IN (0, c.relowner)), true);
        gone := gone || ARRAY(SELECT d.name FROM gateway.definitions d WHERE d.kind = 'view' AND d.name <> ALL (gone));
        EXECUTE (
            SELECT 'DROP VIEW IF EXISTS ' || pg_catalog.string_agg(d.name, ', ')
            FROM gateway.definitions d WHERE d.kind = 'view');
    END IF;
    FOR routine IN
        SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname || '.' || p.proname IN (
            SELECT d.name FROM gateway.definitions d WHERE d.kind = 'function' AND d.name = ANY (gone))
    LOOP
        EXECUTE pg_catalog.format('DROP FUNCTION %s', routine);
    END LOOP;
    UPDATE gateway.definitions d SET
        checksum = '', earlier = pg_catalog.array_append(pg_catalog.array_remove(d.earlier, d.checksum), d.checksum)
    WHERE d.name = ANY (gone) AND d.checksum <> '';
END
$$;
