-- The only way for events into the state of record. Applies a batch if its sender and the database agree on shadow mode, and on
-- which ledger this is, if the sender names one.
--
-- batch = {"shadow", "ledger", "events": [...], "payloads": {...}, "claims": [...], "bindings": [...], "subscriptions": [...], "customers": [...],
--          "revenue": [...], "links": [...], "findings": [...], "decisions": [...]}
-- An event has its place `n` in the batch, and no two have the same `id`. Every other row names the `n` of its event. Payloads
-- are listed under the `n` of their events. A row of a subscription or customer has no `raw` of its own if that is the object in
-- the payload. The answer is an array of {"n", "outcome", "rule", "reason"}. A batch without
-- events catches up with what time has changed, and with users who could not be shown; the answer is not empty if more of it is due.
--
-- A batch is small and the tables are large, so rows are looked up one by one through indexes. The settings force this on the
-- planner. Left alone, it takes a table that was never analysed, or the rows of a partial index, for a handful, and reads them
-- all, or keeps what it read in a list, for each batch. As it has no choice, it need not plan again for each batch either; that
-- would copy the whole batch per statement. And no statement of a batch runs long enough to be worth compiling.
CREATE OR REPLACE FUNCTION public.gateway_apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$
BEGIN
    PERFORM gateway.agree(batch);
    RETURN gateway.apply_batch(batch);
END
$$;
