-- Whether a person dropped the event that makes a subscription entitle, so that they have decided already. Until another event of
-- it is held.
CREATE OR REPLACE FUNCTION gateway.is_dropped(id text, version text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (SELECT FROM gateway.events e WHERE e.id = gateway.event_of(is_dropped.version) AND e.outcome = 'dropped')
        AND NOT EXISTS (SELECT FROM gateway.events e WHERE e.object_id = is_dropped.id AND e.outcome = 'quarantined')
$$;
