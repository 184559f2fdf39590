-- Answers questions about persons, events and money, and notes what these answers need.
CREATE OR REPLACE FUNCTION public.gateway_desk(request jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.desk(request) $$;
