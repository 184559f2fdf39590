-- Which of these events are recorded.
CREATE OR REPLACE FUNCTION gateway.known_events(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT coalesce(pg_catalog.jsonb_agg(e.id), '[]')
    FROM pg_catalog.jsonb_array_elements_text(ids) asked JOIN gateway.events e ON e.id = asked
$$;
