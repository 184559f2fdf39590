-- Whether the database is in shadow mode.
--
-- The condition lets the index be used: batches run with sequential scans priced so high that one, of a single row even,
-- would be compiled at every call.
CREATE OR REPLACE FUNCTION gateway.is_shadow() RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN coalesce((SELECT o.shadow FROM gateway.operation o WHERE o.only_row), false);
END
$$;
