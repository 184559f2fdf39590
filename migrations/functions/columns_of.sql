-- The columns of a table that the gateway can write, with their types; empty without such a table.
CREATE OR REPLACE FUNCTION gateway.columns_of(relation text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN (
        SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, pg_catalog.format_type(a.atttypid, NULL)), '{}')
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = pg_catalog.to_regclass(relation) AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = ''
    );
END
$$;
