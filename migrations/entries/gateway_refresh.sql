-- Works out and shows again what the users after `after` have.
CREATE OR REPLACE FUNCTION public.gateway_refresh(after text, most integer) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT coalesce(pg_catalog.to_jsonb(gateway.refresh(after, most)), 'null') $$;
