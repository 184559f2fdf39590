-- Puts what the newest content that listed all items says in the place of what the present one, which lists a part, may lack:
-- a better tier, and a greater monthly amount.
CREATE OR REPLACE FUNCTION gateway.complete(object text) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    UPDATE gateway.stripe_subscriptions s SET
        mrr_minor = CASE WHEN s.status IN ('active', 'past_due') AND s.pause_behavior IS NULL
            THEN greatest(s.mrr_minor, w.mrr_minor) ELSE s.mrr_minor END,
        tier = CASE WHEN w.tier_rank > s.tier_rank THEN w.tier ELSE s.tier END,
        preference = CASE WHEN w.tier_rank <= s.tier_rank THEN s.preference
            WHEN s.entitles THEN pg_catalog.overlay(s.preference, pg_catalog.to_char(w.tier_rank, 'FM00'), 5, 2)
            ELSE pg_catalog.overlay(s.preference, pg_catalog.to_char(w.tier_rank, 'FM00'), 8, 2) END,
        tier_rank = greatest(s.tier_rank, w.tier_rank)
    FROM (SELECT k.mrr_minor, k.tier, k.tier_rank FROM gateway.kept_subscriptions k
          WHERE k.id = object AND NOT k.partial ORDER BY k.version DESC LIMIT 1) w
    WHERE s.id = object AND s.partial;
END
$$;
