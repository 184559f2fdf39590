-- Which ledger this is, and what it has recorded of these events.
CREATE OR REPLACE FUNCTION public.gateway_witness(ids jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.witness(ids) $$;
