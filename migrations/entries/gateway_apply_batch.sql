-- The one way by which events reach the state of record. Applies a batch, if whoever sends it and the database agree on
-- shadow mode.
--
-- batch = {"shadow", "events": [...], "payloads": {...}, "claims": [...], "bindings": [...], "subscriptions": [...], "customers": [...],
--          "revenue": [...], "links": [...], "findings": [...], "decisions": [...]}
-- An event has its place `n` in the batch, no two have the same `id`; every other row names the `n` of its event.
-- Payloads stand under the `n` of their events; a row of a subscription or customer lacks its `raw` where that is the object of the
-- payload. The answer is an array of {"n", "outcome", "rule", "reason"}.
--
-- A batch is small and the tables are large, so rows are looked up one by one through indexes. The planner is told, for it
-- takes a table that was never analysed, or the rows of a partial index, for a handful, and would read all of them, or keep
-- a list of what was read once, for each batch. Since it has no choice, it need not choose again for each batch: that
-- takes a copy of the whole batch per statement. And no statement of a batch runs long enough to be worth compiling.
CREATE OR REPLACE FUNCTION public.gateway_apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    IF coalesce((batch ->> 'shadow')::boolean, false) <> gateway.is_shadow() THEN
        RAISE EXCEPTION 'the sender and the database differ about shadow mode' USING ERRCODE = 'GW004';
    END IF;
    RETURN gateway.apply_batch(batch);
END
$$;
