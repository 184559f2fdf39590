-- The texts of a document that look like Stripe ids.
CREATE OR REPLACE FUNCTION gateway.ids_in(document jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT m[1] FROM pg_catalog.regexp_matches(document::text, '"([a-z]+_[A-Za-z0-9_]+)"', 'g') m $$;
