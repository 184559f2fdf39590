-- What a person should look at besides events.
CREATE OR REPLACE FUNCTION public.gateway_attention(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.attention(most) $$;
