-- A step of reducing payloads that are older than the operator keeps them; `gateway.expire_payloads` has the form.
CREATE OR REPLACE FUNCTION public.gateway_expire_payloads(before_ms bigint, after jsonb, most integer) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = '' SET lock_timeout = '3s'
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
    SELECT gateway.expire_payloads(pg_catalog.to_timestamp(0) + before_ms * interval '1 millisecond', after, most)
$$;
