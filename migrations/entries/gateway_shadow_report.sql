-- Compares what the gateway would show with what another system has written.
CREATE OR REPLACE FUNCTION public.gateway_shadow_report(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.shadow_report(most) $$;
