-- As `gateway.show_rows`, but for columns by table that are left out.
CREATE OR REPLACE FUNCTION gateway.show_without(users text[], left_out jsonb) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, public, extensions, pg_temp
AS $$
DECLARE
    form record;
    tiers jsonb;
    statement text;
    lacking text[];
BEGIN
    SELECT * INTO form FROM gateway.shown(left_out);
    IF form.tiers IS NOT NULL THEN
        EXECUTE pg_catalog.concat('SELECT (', form.tiers, ')') INTO tiers USING users;
    END IF;
    FOREACH statement IN ARRAY form.statements LOOP
        EXECUTE statement USING users, tiers;
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
    IF form.lacking IS NOT NULL THEN
        EXECUTE pg_catalog.concat('SELECT (', form.lacking, ')') INTO lacking USING users;
    END IF;
    RETURN lacking;
END
$$;
