-- The event of a version: from the 47th letter up to the space before the API version of its payload.
CREATE OR REPLACE FUNCTION gateway.event_of(version text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT pg_catalog.split_part(pg_catalog.substr(version, 47), ' ', 1) $$;
