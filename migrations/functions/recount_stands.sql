-- Whether the payload that a version stands on is here.
CREATE OR REPLACE FUNCTION gateway.recount_stands(version text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT EXISTS (
        SELECT FROM gateway.events e WHERE e.id = gateway.event_of(version) AND NOT e.reduced AND NOT e.payload ? 'erased')
$$;
