-- Makes users wait, each time for longer: from a minute to a day.
CREATE OR REPLACE FUNCTION gateway.wait_for(users text[], reason text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE gateway.user_access a SET shown = false, fault = reason, attempts = a.attempts + 1,
        retry_at = pg_catalog.now() + least(interval '1 day', interval '1 minute' * 2 ^ least(a.attempts, 11))
    WHERE a.user_id = ANY (users);
END
$$;
