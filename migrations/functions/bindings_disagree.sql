-- Whether any binding of events that are not `refused` contradicts what is bound or another of them.
CREATE OR REPLACE FUNCTION gateway.bindings_disagree(batch jsonb, refused integer[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM (
            SELECT b.kind, b.from_id, pg_catalog.min(b.to_id) AS low, pg_catalog.max(b.to_id) AS high
            FROM pg_catalog.jsonb_to_recordset(batch -> 'bindings') AS b (
                n integer, exclusive boolean, kind text COLLATE "C", from_id text COLLATE "C", to_id text COLLATE "C")
            WHERE b.exclusive AND b.n <> ALL (refused)
            GROUP BY 1, 2
        ) given
        WHERE given.low <> given.high OR given.low <> (
            SELECT t.to_id FROM gateway.customer_bindings t WHERE t.kind = given.kind AND t.from_id = given.from_id));
END
$$;
