-- In how many fields two objects differ. An absent field counts as null. A list is one field and only the entries in it are
-- compared: how many entries there are in all is not among the previous values. As `distance` in `src/revenue/order.rs`.
CREATE OR REPLACE FUNCTION gateway.distance(a jsonb, b jsonb) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF a = b THEN
        RETURN 0;
    ELSIF pg_catalog.jsonb_typeof(a -> 'data') = 'array' AND pg_catalog.jsonb_typeof(b -> 'data') = 'array' THEN
        RETURN CASE WHEN gateway.alike(a -> 'data', b -> 'data') THEN 0 ELSE 1 END;
    ELSIF pg_catalog.jsonb_typeof(a) = 'object' AND pg_catalog.jsonb_typeof(b) = 'object' THEN
        RETURN (
            SELECT coalesce(pg_catalog.sum(
                gateway.distance(coalesce(a -> k.key, 'null'), coalesce(b -> k.key, 'null'))), 0)::bigint
            FROM pg_catalog.jsonb_object_keys(a || b) k (key) WHERE a -> k.key IS DISTINCT FROM b -> k.key);
    END IF;
    RETURN CASE WHEN gateway.alike(a, b) THEN 0 ELSE 1 END;
END
$$;
