-- `base` with the fields of `patch` in place of its own: objects are merged field by field, everything else is replaced as a
-- whole. As `overlaid` in `src/revenue/order.rs`.
CREATE OR REPLACE FUNCTION gateway.overlaid(base jsonb, patch jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF pg_catalog.jsonb_typeof(base) IS DISTINCT FROM 'object'
       OR pg_catalog.jsonb_typeof(patch) IS DISTINCT FROM 'object' THEN
        RETURN patch;
    END IF;
    RETURN base || (
        SELECT coalesce(pg_catalog.jsonb_object_agg(p.key, gateway.overlaid(base -> p.key, p.value)), '{}')
        FROM pg_catalog.jsonb_each(patch) p);
END
$$;
