-- A step of a recount, with the planner settings of a batch.
CREATE OR REPLACE FUNCTION public.gateway_recount(request jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
    SET plan_cache_mode = force_generic_plan SET jit = off
AS $$ SELECT gateway.recount(request) $$;
