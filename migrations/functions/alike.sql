-- Whether two values within a list say the same. A field that only one of them has says nothing: previous values are
-- sometimes rendered with fewer. As `alike` in `src/revenue/order.rs`.
CREATE OR REPLACE FUNCTION gateway.alike(a jsonb, b jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF a = b THEN
        RETURN true;
    ELSIF pg_catalog.jsonb_typeof(a) = 'object' AND pg_catalog.jsonb_typeof(b) = 'object' THEN
        RETURN NOT EXISTS (
            SELECT FROM pg_catalog.jsonb_each(a) x WHERE b ? x.key AND NOT gateway.alike(x.value, b -> x.key));
    ELSIF pg_catalog.jsonb_typeof(a) = 'array' AND pg_catalog.jsonb_typeof(b) = 'array' THEN
        RETURN pg_catalog.jsonb_array_length(a) = pg_catalog.jsonb_array_length(b) AND NOT EXISTS (
            SELECT FROM pg_catalog.jsonb_array_elements(a) WITH ORDINALITY AS x (value, place)
            WHERE NOT gateway.alike(x.value, b -> (x.place - 1)::integer));
    END IF;
    RETURN false;
END
$$;
