-- Makes the caller's commit wait until a standby has these events, on servers whose commits wait for a standby. If the wait of an event's
-- own commit was cancelled, or the server restarted meanwhile, the event is visible although no standby has it. The lock that this
-- function takes follows the event in the log, so the caller's commit waits for both.
CREATE OR REPLACE FUNCTION gateway.await_standby(ids text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF pg_catalog.current_setting('synchronous_standby_names', true) <> '' THEN
        PERFORM FROM gateway.events e WHERE e.id = ANY (ids) ORDER BY e.id FOR KEY SHARE;
    END IF;
END
$$;
