-- The subscriptions of one mode, in the order of their identifiers.
CREATE OR REPLACE FUNCTION public.gateway_subscriptions_after(after text, live boolean, most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.subscriptions_after(after, live, most) $$;
