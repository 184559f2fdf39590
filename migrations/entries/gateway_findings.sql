-- Findings, the latest first.
CREATE OR REPLACE FUNCTION public.gateway_findings(wanted jsonb, most integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$ SELECT gateway.finding_lines(wanted, most) $$;
