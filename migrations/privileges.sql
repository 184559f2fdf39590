-- Who may do what. The owner and Supabase's service role may call all entries. A role that runs the gateway may call those that
-- `serve` and `bee` call. No other role may call anything.
--
-- Entries run with the owner's rights, so that the caller needs none on the tables. Their search path is empty, so that no table
-- or function put in the caller's way can stand in for one of the gateway's. This file runs last, whenever anything changed or
-- `colony_gateway.runtime_role` names a role. `colony_gateway.callers` are the roles named in earlier runs.

DO $$
DECLARE
    entry record;
    named text := nullif(pg_catalog.current_setting('colony_gateway.runtime_role', true), '');
    callers text[] := ARRAY(
        SELECT pg_catalog.jsonb_array_elements_text(
            coalesce(nullif(pg_catalog.current_setting('colony_gateway.callers', true), ''), '[]')::jsonb));
    role text;
    relation text;
BEGIN
    IF named IS NOT NULL THEN
        IF pg_catalog.to_regrole(pg_catalog.quote_ident(named)) IS NULL THEN
            RAISE EXCEPTION 'there is no role %: make it first, with CREATE ROLE % LOGIN and a password', named,
                pg_catalog.quote_ident(named) USING ERRCODE = 'GW006';
        END IF;
        IF pg_catalog.pg_has_role(named::name, CURRENT_USER, 'MEMBER') OR EXISTS (
            SELECT FROM pg_catalog.pg_namespace n
            WHERE n.nspname = 'gateway' AND pg_catalog.pg_has_role(named::name, n.nspowner, 'MEMBER'))
        THEN
            RAISE EXCEPTION 'the role % is the one that owns the schema gateway, or may act for it: name another', named
                USING ERRCODE = 'GW006';
        END IF;
        IF NOT pg_catalog.has_database_privilege(named::name, pg_catalog.current_database(), 'CONNECT') THEN
            EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), named);
        END IF;
        IF NOT pg_catalog.has_schema_privilege(named::name, 'public', 'USAGE') THEN
            EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA public TO %I', named);
        END IF;
        callers := callers || named;
    END IF;
    FOR entry IN
        SELECT p.oid::pg_catalog.regprocedure AS routine, p.proname IN (
            -- Only the owner ends and begins shadow mode.
            'gateway_refresh', 'gateway_set_shadow') AS is_owners
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'public'::pg_catalog.regnamespace AND p.proname IN (
            'gateway_apply_batch', 'gateway_attention', 'gateway_check', 'gateway_desk', 'gateway_erase', 'gateway_expire_payloads',
            'gateway_findings',
            'gateway_is_shadow', 'gateway_known_events',
            'gateway_old_owners', 'gateway_recount', 'gateway_refresh', 'gateway_rehearse', 'gateway_set_shadow', 'gateway_shadow_report', 'gateway_subscription_facts',
            'gateway_subscriptions', 'gateway_subscriptions_after', 'gateway_summary', 'gateway_take_lease',
            'gateway_witness')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', entry.routine);
        FOREACH role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF pg_catalog.to_regrole(role) IS NOT NULL THEN
                EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %I', entry.routine, role);
            END IF;
        END LOOP;
        IF pg_catalog.to_regrole('service_role') IS NOT NULL THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO service_role', entry.routine);
        END IF;
        FOREACH role IN ARRAY callers LOOP
            IF role NOT IN ('anon', 'authenticated', 'service_role') AND NOT entry.is_owners THEN
                EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %I', entry.routine, role);
            END IF;
        END LOOP;
    END LOOP;
    REVOKE ALL ON SCHEMA gateway FROM PUBLIC;
    REVOKE ALL ON ALL TABLES IN SCHEMA gateway FROM PUBLIC;
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA gateway FROM PUBLIC;
    -- A second wall in case the schema is exposed: without a policy only the owner sees a row.
    FOR relation IN
        SELECT c.relname FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'gateway'::pg_catalog.regnamespace AND c.relkind = 'r' AND NOT c.relrowsecurity
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

-- PostgREST keeps a list of functions; this makes it read them again.
NOTIFY pgrst, 'reload schema';
