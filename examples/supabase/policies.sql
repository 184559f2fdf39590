-- Content for paying users on Supabase, by tier. Run it after `colony-gateway migrate`, as the owner. You can run it again.
--
-- The tiers that the current user may read. It is `security definer`, so a policy can call it even if the user may read nothing
-- else. It takes no argument, so no one can ask about another user. `premium`, an unknown paid tier, counts as the lowest.
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
-- Because of `(SELECT …)` the tiers are looked up once per query, not once per row.
CREATE POLICY lessons_by_tier ON public.lessons FOR SELECT TO authenticated
    USING (tier = ANY ((SELECT public.my_tiers())::text[]));
GRANT SELECT ON public.lessons TO authenticated;
