-- Rehearses the takeover of the users after `after`, and undoes it.
CREATE OR REPLACE FUNCTION public.gateway_rehearse(after text, most integer) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.rehearse(after, most) $$;
