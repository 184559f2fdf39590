-- Works out again what users have, after a projection was switched on or a public table was changed by hand. Takes `most` users
-- after `after`. Answers with the last of them, or null when there are none.
CREATE OR REPLACE FUNCTION gateway.refresh(after text DEFAULT '', most integer DEFAULT 1000) RETURNS text
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_material = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    users text[];
    last text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    SELECT pg_catalog.array_agg(u.user_id), pg_catalog.max(u.user_id COLLATE "C") INTO users, last
    FROM (SELECT DISTINCT c.user_id FROM gateway.claims c WHERE c.user_id > after COLLATE "C" ORDER BY 1 LIMIT most) u;
    IF users IS NOT NULL THEN
        PERFORM gateway.project(users);
    END IF;
    RETURN last;
END
$$;
