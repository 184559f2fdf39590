-- Subscriptions with their users.
CREATE OR REPLACE FUNCTION public.gateway_subscriptions(most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.subscription_lines(most) $$;
