-- Whether the database is in shadow mode.
CREATE OR REPLACE FUNCTION public.gateway_is_shadow() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT pg_catalog.to_jsonb(gateway.is_shadow()) $$;
