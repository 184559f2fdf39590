-- Whether the database is in shadow mode.
--
-- The condition lets PostgreSQL use the index. Batches price a sequential scan so high that the server would compile even one of
-- a single row, at every call.
CREATE OR REPLACE FUNCTION gateway.is_shadow() RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN coalesce((SELECT o.shadow FROM gateway.operation o WHERE o.only_row), false);
END
$$;
