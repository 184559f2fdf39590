-- One row per field in which two rows differ; none for null on both sides.
CREATE OR REPLACE FUNCTION gateway.field_differences(here jsonb, there jsonb)
RETURNS TABLE (field text, here_says text, there_says text)
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT t.key, here ->> t.key, t.value FROM pg_catalog.jsonb_each_text(there) t
    WHERE here ->> t.key IS DISTINCT FROM t.value
$$;
