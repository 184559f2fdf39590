-- Which of these events are recorded.
CREATE OR REPLACE FUNCTION public.gateway_known_events(ids jsonb) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$ SELECT gateway.known_events(ids) $$;
