-- A list of a person's ids.
CREATE OR REPLACE FUNCTION gateway.ids_of(person jsonb, list text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT ARRAY(SELECT pg_catalog.jsonb_array_elements_text(person -> list)) $$;
