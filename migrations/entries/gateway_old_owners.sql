-- The users whom another system's rows name for subscriptions and customers without a user.
CREATE OR REPLACE FUNCTION public.gateway_old_owners(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
AS $$ SELECT gateway.old_owners(most) $$;
