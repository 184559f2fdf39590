-- A step of erasing a person's data.
CREATE OR REPLACE FUNCTION public.gateway_erase(request jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.erase(request) $$;
