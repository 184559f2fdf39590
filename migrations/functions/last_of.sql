-- The last of `tied`, contents of one second as `gateway.told` gives them, each with its `version`. `earlier` are the moments
-- before, as `gateway.moments_before` gives them. `proof` says how sure the result is: `whole`, `likely` or `open`. It depends on
-- the sets alone. As `last` in `src/revenue/order.rs`, which explains the rule.
CREATE OR REPLACE FUNCTION gateway.last_of(earlier jsonb, tied jsonb, OUT version text, OUT proof text)
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    moment jsonb;
    starts jsonb[] := '{}';
    befores jsonb[];
    afters jsonb[];
    ends integer[];
    misfits bigint;
    taken jsonb;
BEGIN
    FOR moment IN
        SELECT m.value FROM pg_catalog.jsonb_array_elements(earlier) WITH ORDINALITY AS m (value, place) ORDER BY m.place
    LOOP
        befores := ARRAY(SELECT t -> 'before' FROM pg_catalog.jsonb_array_elements(moment -> 'contents') t);
        afters := ARRAY(SELECT t -> 'after' FROM pg_catalog.jsonb_array_elements(moment -> 'contents') t);
        IF (moment -> 'aside')::boolean THEN
            -- With no other start, the order may start anywhere.
            IF starts <> '{}' THEN
                starts := starts || afters;
            END IF;
            CONTINUE;
        END IF;
        SELECT e.ends INTO ends FROM gateway.endings(starts, befores, afters) e;
        starts := ARRAY(SELECT afters[i] FROM pg_catalog.unnest(ends) i);
    END LOOP;
    befores := ARRAY(SELECT t -> 'before' FROM pg_catalog.jsonb_array_elements(tied) t);
    afters := ARRAY(SELECT t -> 'after' FROM pg_catalog.jsonb_array_elements(tied) t);
    SELECT e.ends, e.misfits INTO ends, misfits FROM gateway.endings(starts, befores, afters) e;
    SELECT tied -> (i - 1) INTO taken FROM pg_catalog.unnest(ends) i
    ORDER BY (tied -> (i - 1) ->> 'version') COLLATE "C" DESC LIMIT 1;
    version := taken ->> 'version';
    proof := CASE
        WHEN EXISTS (SELECT FROM pg_catalog.unnest(ends) i WHERE gateway.distance(afters[i], taken -> 'after') <> 0)
            THEN 'open'
        WHEN misfits = 0 THEN 'whole'
        ELSE 'likely' END;
END
$$;
