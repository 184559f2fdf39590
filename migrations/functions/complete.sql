-- Puts what the newest content that listed all items says in the place of what the present one, which lists a part, may lack:
-- a better tier, and a greater monthly amount. `truth` is the table of the row, `kept` that of the contents.
CREATE OR REPLACE FUNCTION gateway.complete(truth text, kept text, object text) RETURNS void
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    EXECUTE pg_catalog.format(
        'UPDATE gateway.%I s SET '
        'mrr_minor = CASE WHEN s.status IN (''active'', ''past_due'') AND s.pause_behavior IS NULL '
        '    THEN greatest(s.mrr_minor, w.mrr_minor) ELSE s.mrr_minor END, '
        'tier = CASE WHEN w.tier_rank > s.tier_rank THEN w.tier ELSE s.tier END, '
        'preference = CASE WHEN w.tier_rank <= s.tier_rank THEN s.preference '
        '    WHEN s.entitles THEN pg_catalog.overlay(s.preference, pg_catalog.to_char(w.tier_rank, ''FM00''), 5, 2) '
        '    ELSE pg_catalog.overlay(s.preference, pg_catalog.to_char(w.tier_rank, ''FM00''), 8, 2) END, '
        'tier_rank = greatest(s.tier_rank, w.tier_rank) '
        'FROM (SELECT k.mrr_minor, k.tier, k.tier_rank FROM gateway.%I k '
        '      WHERE k.id = $1 AND NOT k.partial ORDER BY k.version DESC LIMIT 1) w '
        'WHERE s.id = $1 AND s.partial', truth, kept) USING object;
END
$$;
