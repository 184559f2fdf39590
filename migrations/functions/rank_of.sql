-- The rank of the payload of an event of this type within its second; as `Rank::of_payload` in `src/revenue/rows.rs`.
CREATE OR REPLACE FUNCTION gateway.rank_of(type text) RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN type LIKE '%.created' THEN 0 WHEN type LIKE '%.trial_will_end' THEN 1
        WHEN type LIKE '%.deleted' OR type LIKE '%.closed' THEN 3 ELSE 2 END
$$;
