-- The functions that a REST layer may see, and who may call them: the service role and the owner, nobody else.
--
-- They run with the owner's rights, so that the caller needs none on the tables, and with an empty search path, so that
-- no table or function put in the caller's way can stand in for one of the gateway's.

-- Applies a batch. See the file of `gateway.apply_batch` for its form.
--
-- A batch is small and the tables are large, so rows are looked up one by one through indexes. The planner is told, for
-- it keeps plans that it made when the tables were small, and misjudges how many rows are platform rows.
CREATE OR REPLACE FUNCTION public.gateway_apply_batch(batch jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.apply_batch(batch) $$;

-- Versions of the migrations that are here. Changes nothing.
CREATE OR REPLACE FUNCTION public.gateway_check() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT coalesce(pg_catalog.jsonb_agg(m.version ORDER BY m.version), '[]') FROM gateway.migrations m $$;

-- Counts, recurring revenue and the money of the last days that had any.
CREATE OR REPLACE FUNCTION public.gateway_summary(days integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.summary(days) $$;

-- Subscriptions with their users.
CREATE OR REPLACE FUNCTION public.gateway_subscriptions(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.subscription_lines(most) $$;

DO $$
DECLARE
    entry text;
    role text;
    relation text;
BEGIN
    FOREACH entry IN ARRAY ARRAY[
        'public.gateway_apply_batch(jsonb)', 'public.gateway_check()', 'public.gateway_summary(integer)',
        'public.gateway_subscriptions(integer)'
    ] LOOP
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
        WHERE c.relnamespace = 'gateway'::pg_catalog.regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', relation);
    END LOOP;
END
$$;

-- PostgREST keeps a list of functions; this makes it look again.
NOTIFY pgrst, 'reload schema';

INSERT INTO gateway.migrations (version, name) VALUES (20260101000500, 'gateway_access')
ON CONFLICT (version) DO NOTHING;
