-- Rehearses the takeover: shows `most` users after `after` as if shadow mode had ended, notes which of them the public tables
-- refuse, and undoes it all. Answers with the last user, or null when there are none, and with the users refused.
CREATE OR REPLACE FUNCTION gateway.rehearse(after text, most integer) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_material = off SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
DECLARE
    users text[];
    last text;
    refused jsonb;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    SELECT pg_catalog.array_agg(u.user_id), pg_catalog.max(u.user_id COLLATE "C") INTO users, last
    FROM (SELECT a.user_id FROM gateway.user_access a WHERE a.user_id > after COLLATE "C" ORDER BY 1 LIMIT most) u;
    BEGIN
        UPDATE gateway.operation SET shadow = false;
        UPDATE gateway.user_access a SET shown = false, attempts = 0, fault = NULL WHERE a.user_id = ANY (users);
        PERFORM gateway.show(coalesce(users, '{}'));
        SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'user_id', a.user_id, 'subscription_id', a.subscription_id, 'entitles', a.entitles, 'fault', a.fault)
            ORDER BY a.user_id)
        INTO refused FROM gateway.user_access a WHERE a.user_id = ANY (users) AND a.fault IS NOT NULL;
        RAISE EXCEPTION 'a rehearsal' USING ERRCODE = 'GW009';
    EXCEPTION
        -- This undoes the whole block except what its variables hold.
        WHEN SQLSTATE 'GW009' THEN NULL;
    END;
    RETURN pg_catalog.jsonb_build_object(
        'last', last, 'users', coalesce(pg_catalog.cardinality(users), 0), 'refused', coalesce(refused, '[]'));
END
$$;
