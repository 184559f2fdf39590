-- Content that a tier has to be paid for, on Supabase. Run it after `colony-gateway migrate`, as the owner, once or again.
--
-- What the user who asks may read. `security definer`, so that a policy can ask it whatever else the user may read; it takes no
-- argument, so that nobody can ask it about another user. `premium`, an unknown paid tier, is as good as the lowest.
CREATE OR REPLACE FUNCTION public.my_tiers() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT CASE (
        SELECT s.tier FROM public.subscriptions s
        WHERE s.user_id::text = (SELECT auth.uid())::text AND s.status = 'active'
        LIMIT 1)
        WHEN 'gold' THEN ARRAY['free', 'bronze', 'silver', 'gold']
        WHEN 'silver' THEN ARRAY['free', 'bronze', 'silver']
        WHEN 'bronze' THEN ARRAY['free', 'bronze']
        WHEN 'premium' THEN ARRAY['free', 'bronze']
        ELSE ARRAY['free']
    END
$$;
REVOKE ALL ON FUNCTION public.my_tiers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.my_tiers() TO authenticated;

CREATE TABLE IF NOT EXISTS public.lessons (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    tier text NOT NULL DEFAULT 'free' CHECK (tier IN ('free', 'bronze', 'silver', 'gold'))
);
ALTER TABLE public.lessons ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS lessons_by_tier ON public.lessons;
-- `(SELECT …)` has the tiers looked up once a query, not once a row.
CREATE POLICY lessons_by_tier ON public.lessons FOR SELECT TO authenticated
    USING (tier = ANY ((SELECT public.my_tiers())::text[]));
GRANT SELECT ON public.lessons TO authenticated;
