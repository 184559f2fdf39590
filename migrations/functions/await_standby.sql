-- Has the commit of whoever calls wait for a standby that has these events, where commits wait for one. An event whose own commit was not
-- waited for to its end, since the wait was cancelled or the server restarted, is visible although no standby has it. A lock of it is
-- written to the log after it, so that the commit of the lock waits for both.
CREATE OR REPLACE FUNCTION gateway.await_standby(ids text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF pg_catalog.current_setting('synchronous_standby_names', true) <> '' THEN
        PERFORM FROM gateway.events e WHERE e.id = ANY (ids) ORDER BY e.id FOR KEY SHARE;
    END IF;
END
$$;
