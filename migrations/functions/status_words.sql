-- The word that a public table uses for each of the gateway's statuses: the first one that the column takes among those that mean
-- the same to a reader. Readers query for the words that give access. The others are as close to the truth as the column allows.
CREATE OR REPLACE FUNCTION gateway.status_words(relation text, spellings text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    taken text[] := gateway.words_taken(
        relation, 'status',
        ARRAY['active', 'trialing', 'past_due', 'unpaid', 'paused', 'expired', 'incomplete_expired'] || spellings);
BEGIN
    RETURN (
        SELECT pg_catalog.jsonb_object_agg(m.status, coalesce((
            SELECT c.word
            FROM pg_catalog.unnest(m.words || CASE WHEN m.status <> 'active' THEN spellings END)
                WITH ORDINALITY AS c (word, place)
            WHERE c.word = ANY (taken) ORDER BY c.place LIMIT 1), m.status))
        FROM (VALUES
            ('active', ARRAY['active', 'trialing']),
            ('past_due', ARRAY['past_due', 'unpaid']),
            ('paused', ARRAY['paused']),
            ('expired', ARRAY['expired', 'incomplete_expired']),
            ('canceled', '{}'::text[])) AS m (status, words));
END
$$;
