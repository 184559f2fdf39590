-- Which of these words a column takes, by its type and by the CHECK constraints on that column alone.
CREATE OR REPLACE FUNCTION gateway.words_taken(relation text, attribute text, words text[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    place record;
    condition text;
    taken text[];
    word text;
BEGIN
    SELECT a.attrelid, a.attnum, a.atttypid, t.typtype, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type INTO place
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = pg_catalog.to_regclass(relation) AND a.attname = attribute AND NOT a.attisdropped;
    -- An enum takes its own words alone, and a domain has conditions of its own.
    IF place.typtype IN ('e', 'd') THEN
        taken := '{}';
        FOREACH word IN ARRAY words LOOP
            BEGIN
                EXECUTE pg_catalog.format('SELECT %L::%s', word, place.type);
                taken := taken || word;
            EXCEPTION
                WHEN check_violation OR data_exception THEN NULL;
            END;
        END LOOP;
        words := taken;
    END IF;
    SELECT pg_catalog.string_agg('(' || pg_catalog.pg_get_expr(c.conbin, c.conrelid) || ')', ' AND ') INTO condition
    FROM pg_catalog.pg_constraint c
    WHERE c.conrelid = place.attrelid AND c.contype = 'c' AND c.conkey = ARRAY[place.attnum];
    IF condition IS NOT NULL THEN
        EXECUTE pg_catalog.format(
            'SELECT coalesce(pg_catalog.array_agg(x.w), ''{}'') '
            'FROM (SELECT w, w::%1$s AS %2$I FROM pg_catalog.unnest($1) w OFFSET 0) x WHERE (%3$s) IS NOT FALSE',
            place.type, attribute, condition) INTO words USING words;
    END IF;
    RETURN words;
END
$$;
