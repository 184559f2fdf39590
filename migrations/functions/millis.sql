-- Milliseconds since the Unix epoch.
CREATE OR REPLACE FUNCTION gateway.millis(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$ SELECT (extract(epoch FROM moment) * 1000)::bigint $$;
