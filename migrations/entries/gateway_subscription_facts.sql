-- What the ledger holds about these subscriptions.
CREATE OR REPLACE FUNCTION public.gateway_subscription_facts(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.subscription_facts(ids) $$;
