-- What people ask about persons and money, and what is noted for them.
CREATE OR REPLACE FUNCTION public.gateway_desk(request jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.desk(request) $$;
