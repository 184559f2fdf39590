-- Counts, recurring revenue and the money of the last days that had any.
CREATE OR REPLACE FUNCTION public.gateway_summary(days integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.summary(days) $$;
