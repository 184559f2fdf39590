-- Switches shadow mode. When it ends, `public.subscriptions` is made or completed; what users have is shown by
-- `gateway.refresh`, user by user, after this has committed.
CREATE OR REPLACE FUNCTION gateway.set_shadow(wanted boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    before boolean;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    before := gateway.is_shadow();
    UPDATE gateway.operation SET shadow = wanted;
    IF NOT wanted THEN
        PERFORM gateway.prepare_subscriptions();
    END IF;
    RETURN pg_catalog.jsonb_build_object('shadow', wanted, 'changed', before <> wanted);
END
$$;
