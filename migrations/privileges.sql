-- Who may do what: the service role and the owner may call the entries, and nobody else anything.
--
-- Entries run with the owner's rights, so that the caller needs none on the tables, and with an empty search path, so that
-- no table or function put in the caller's way can stand in for one of the gateway's. Applied last, whenever anything
-- changed.

DO $$
DECLARE
    entry pg_catalog.regprocedure;
    role text;
    relation text;
BEGIN
    FOR entry IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'public'::pg_catalog.regnamespace AND p.proname IN (
            'gateway_apply_batch', 'gateway_attention', 'gateway_check', 'gateway_erase', 'gateway_expire_payloads',
            'gateway_findings',
            'gateway_is_shadow', 'gateway_known_events',
            'gateway_old_owners', 'gateway_refresh', 'gateway_rehearse', 'gateway_set_shadow', 'gateway_shadow_report', 'gateway_subscription_facts',
            'gateway_subscriptions', 'gateway_subscriptions_after', 'gateway_summary', 'gateway_take_lease',
            'gateway_witness')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', entry);
        FOREACH role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF pg_catalog.to_regrole(role) IS NOT NULL THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I', entry, role);
            END IF;
        END LOOP;
        IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO service_role', entry);
        END IF;
    END LOOP;
    REVOKE ALL ON SCHEMA gateway FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA gateway FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;
    -- A second wall, should somebody expose the schema: without a policy nobody but the owner sees a row.
    FOR relation IN
        SELECT c.relname FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'gateway'::pg_catalog.regnamespace AND c.relkind = 'r' AND NOT c.relrowsecurity
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';
