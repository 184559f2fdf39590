-- One spelling for words that mean the same in the generations of the tables.
CREATE OR REPLACE FUNCTION gateway.plain_word(word text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE pg_catalog.lower(pg_catalog.btrim(word))
        WHEN 'cancelled' THEN 'canceled' WHEN 'argent' THEN 'silver' WHEN 'or' THEN 'gold'
        ELSE pg_catalog.lower(pg_catalog.btrim(word)) END
$$;
