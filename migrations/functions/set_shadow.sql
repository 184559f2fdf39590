-- Switches shadow mode. When it ends, this notes what the public tables say, and makes or completes `public.subscriptions`. After
-- the commit, `gateway.refresh` shows what users have, page by page. When shadow mode begins after such a takeover, the tables
-- are given back.
CREATE OR REPLACE FUNCTION gateway.set_shadow(wanted boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    before boolean;
    given_back jsonb;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    before := gateway.is_shadow();
    IF before AND NOT wanted THEN
        UPDATE gateway.projections p SET form = NULL WHERE p.name = 'subscriptions';
        PERFORM gateway.note_before();
        UPDATE gateway.operation SET took_over_at = pg_catalog.now();
    ELSIF wanted AND NOT before AND EXISTS (SELECT FROM gateway.operation o WHERE o.took_over_at IS NOT NULL) THEN
        given_back := gateway.give_back();
        DELETE FROM gateway.rows_before;
        DELETE FROM gateway.access_before;
        UPDATE gateway.operation SET took_over_at = NULL;
    END IF;
    UPDATE gateway.operation SET shadow = wanted;
    IF NOT wanted THEN
        PERFORM gateway.prepare_subscriptions();
    END IF;
    RETURN pg_catalog.jsonb_build_object('shadow', wanted, 'changed', before <> wanted, 'given_back', given_back);
END
$$;
