-- Switches shadow mode.
CREATE OR REPLACE FUNCTION public.gateway_set_shadow(wanted boolean) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.set_shadow(wanted) $$;
