-- Completes a content that lists only a part of its items, in the truth or in the vouched state. The newest content that listed
-- all of them may have a better tier or a greater monthly amount: those are taken over.
CREATE OR REPLACE FUNCTION gateway.complete(object text, is_vouched boolean) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    whole record;
BEGIN
    IF is_vouched THEN
        SELECT k.mrr_minor, k.tier, k.tier_rank INTO whole FROM gateway.kept_vouched k
        WHERE k.id = object AND NOT k.partial ORDER BY k.version DESC LIMIT 1;
    ELSE
        SELECT k.mrr_minor, k.tier, k.tier_rank INTO whole FROM gateway.kept_subscriptions k
        WHERE k.id = object AND NOT k.partial ORDER BY k.version DESC LIMIT 1;
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF is_vouched THEN
        UPDATE gateway.vouched_subscriptions s SET
            mrr_minor = CASE WHEN s.status IN ('active', 'past_due') AND s.pause_behavior IS NULL
                THEN greatest(s.mrr_minor, whole.mrr_minor) ELSE s.mrr_minor END,
            tier = CASE WHEN whole.tier_rank > s.tier_rank THEN whole.tier ELSE s.tier END,
            preference = CASE WHEN whole.tier_rank <= s.tier_rank THEN s.preference
                ELSE pg_catalog.overlay(s.preference, pg_catalog.to_char(whole.tier_rank, 'FM00'),
                    CASE WHEN s.entitles THEN 5 ELSE 8 END, 2) END,
            tier_rank = greatest(s.tier_rank, whole.tier_rank)
        WHERE s.id = object AND s.partial;
    ELSE
        UPDATE gateway.stripe_subscriptions s SET
            mrr_minor = CASE WHEN s.status IN ('active', 'past_due') AND s.pause_behavior IS NULL
                THEN greatest(s.mrr_minor, whole.mrr_minor) ELSE s.mrr_minor END,
            tier = CASE WHEN whole.tier_rank > s.tier_rank THEN whole.tier ELSE s.tier END,
            preference = CASE WHEN whole.tier_rank <= s.tier_rank THEN s.preference
                ELSE pg_catalog.overlay(s.preference, pg_catalog.to_char(whole.tier_rank, 'FM00'),
                    CASE WHEN s.entitles THEN 5 ELSE 8 END, 2) END,
            tier_rank = greatest(s.tier_rank, whole.tier_rank)
        WHERE s.id = object AND s.partial;
    END IF;
END
$$;
