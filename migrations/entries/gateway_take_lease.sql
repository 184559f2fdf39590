-- Takes, keeps or gives back a lease.
CREATE OR REPLACE FUNCTION public.gateway_take_lease(wanted text, who text, seconds integer, reached_ms bigint)
RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.take_lease(wanted, who, seconds, reached_ms) $$;
