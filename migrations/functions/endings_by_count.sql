-- As `gateway.endings`, for sets too large to try every order. Every content that was reached was left again, except the last. So
-- the set ends in a content that was reached more often than it was left; contents that are alike count as one. As `by_count` in
-- `src/revenue/order.rs`.
CREATE OR REPLACE FUNCTION gateway.endings_by_count(
    starts jsonb[], befores jsonb[], afters jsonb[], OUT ends integer[], OUT misfits bigint)
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    many integer := pg_catalog.cardinality(afters);
    states jsonb[] := '{}';
    surplus integer[] := '{}';
    -- The state of each content.
    states_of integer[] := '{}';
    place integer;
BEGIN
    IF pg_catalog.cardinality(starts) > 0
        AND NOT EXISTS (SELECT FROM pg_catalog.unnest(starts) s WHERE gateway.distance(s, starts[1]) <> 0) THEN
        states := pg_catalog.array_append(states, starts[1]);
        surplus := '{1}';
    END IF;
    FOR i IN 1 .. many LOOP
        SELECT pg_catalog.min(k) INTO place FROM pg_catalog.generate_series(1, pg_catalog.cardinality(states)) k
        WHERE gateway.distance(states[k], afters[i]) = 0;
        IF place IS NULL THEN
            states := pg_catalog.array_append(states, afters[i]);
            surplus := pg_catalog.array_append(surplus, 0);
            place := pg_catalog.cardinality(states);
        END IF;
        surplus[place] := surplus[place] + 1;
        states_of[i] := place;
    END LOOP;
    FOR i IN 1 .. many LOOP
        SELECT pg_catalog.min(k) INTO place FROM pg_catalog.generate_series(1, pg_catalog.cardinality(states)) k
        WHERE gateway.distance(states[k], befores[i]) = 0;
        IF place IS NOT NULL THEN
            surplus[place] := surplus[place] - 1;
        END IF;
    END LOOP;
    ends := ARRAY(SELECT i FROM pg_catalog.generate_series(1, many) i WHERE surplus[states_of[i]] > 0);
    IF ends = '{}' THEN
        ends := ARRAY(SELECT pg_catalog.generate_series(1, many));
    END IF;
    SELECT greatest(pg_catalog.sum(greatest(s, 0)) - 1, 0) INTO misfits FROM pg_catalog.unnest(surplus) s;
END
$$;
