-- The places of the contents with which the best orders of a set end, and how much does not fit within the best of these orders.
-- Contents are numbered from 1; `befores` and `afters` are the object before and after each. An order begins at one of `starts`,
-- if there are any. As `endings` in `src/revenue/order.rs`, which explains the rule.
CREATE OR REPLACE FUNCTION gateway.endings(
    starts jsonb[], befores jsonb[], afters jsonb[], OUT ends integer[], OUT misfits bigint)
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    many integer := pg_catalog.cardinality(afters);
    -- Greater than the steps of any order add up to, so that the sum over the whole order decides before the sum within the set.
    weight CONSTANT bigint := 1048576;
    between bigint[] := '{}';
    -- For each set of contents, as bits, and each of them: the best order of the set that ends with it.
    best bigint[];
    so_far bigint;
    place integer;
BEGIN
    ends := '{}';
    misfits := 0;
    IF many = 0 THEN
        RETURN;
    ELSIF many > 8 THEN
        SELECT c.ends, c.misfits INTO ends, misfits FROM gateway.endings_by_count(starts, befores, afters) c;
        RETURN;
    END IF;
    best := pg_catalog.array_fill(NULL::bigint, ARRAY[(1 << many) * many]);
    FOR i IN 1 .. many LOOP
        FOR j IN 1 .. many LOOP
            between[(i - 1) * many + j] := gateway.distance(afters[i], befores[j]) * (weight + 1);
        END LOOP;
        best[(1 << (i - 1)) * many + i] := weight * coalesce(
            (SELECT pg_catalog.min(gateway.distance(s, befores[i])) FROM pg_catalog.unnest(starts) s), 0);
    END LOOP;
    FOR bits IN 1 .. (1 << many) - 1 LOOP
        FOR i IN 1 .. many LOOP
            so_far := best[bits * many + i];
            CONTINUE WHEN so_far IS NULL;
            FOR j IN 1 .. many LOOP
                CONTINUE WHEN bits & (1 << (j - 1)) <> 0;
                place := (bits | (1 << (j - 1))) * many + j;
                best[place] := least(best[place], so_far + between[(i - 1) * many + j]);
            END LOOP;
        END LOOP;
    END LOOP;
    SELECT pg_catalog.min(best[((1 << many) - 1) * many + i]) INTO so_far FROM pg_catalog.generate_series(1, many) i;
    misfits := so_far % weight;
    ends := ARRAY(
        SELECT i FROM pg_catalog.generate_series(1, many) i
        WHERE best[((1 << many) - 1) * many + i] / weight = so_far / weight);
END
$$;
