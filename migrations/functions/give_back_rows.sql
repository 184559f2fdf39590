-- Brings the rows of one public table back to what they said before the takeover, except those of users in `changed`. It removes
-- the rows that the gateway made and restores what it replaced in others. Periods and customers stay, because they are facts.
-- Returns how many rows it removed and restored.
CREATE OR REPLACE FUNCTION gateway.give_back_rows(relation text, key text, changed text[], INOUT counts jsonb)
LANGUAGE plpgsql
AS $$
DECLARE
    columns jsonb := gateway.projection(relation);
    words jsonb := CASE WHEN relation <> 'user_profiles' THEN gateway.status_words('public.' || relation,
        CASE relation WHEN 'subscription_tiers' THEN ARRAY['cancelled', 'canceled'] ELSE ARRAY['canceled', 'cancelled'] END) END;
    owner text := gateway.user_column(relation, columns);
    names text[];
    made text;
    number bigint;
BEGIN
    IF columns IS NULL OR NOT columns ? key THEN
        RETURN;
    END IF;
    made := pg_catalog.format(
        't.%1$I::text = ANY (SELECT a.user_id FROM gateway.user_access a) AND t.%1$I::text <> ALL ($1) AND NOT EXISTS ('
        'SELECT FROM gateway.rows_before b WHERE b.relation = %2$L AND b.place = (t.%3$I::text COLLATE "C"))',
        owner, relation, key);
    IF relation = 'user_profiles' THEN
        -- Profiles belong to the users. Those that said nothing of a purchase before say nothing of it again.
        EXECUTE pg_catalog.format(
            'UPDATE public.user_profiles t SET is_premium = false %s %s WHERE t.is_premium AND %s',
            CASE WHEN columns ? 'plan' THEN ', plan = ''free''' END,
            CASE WHEN columns ? 'subscription_tier' THEN ', subscription_tier = ''free''' END, made) USING changed;
        GET DIAGNOSTICS number = ROW_COUNT;
        counts := pg_catalog.jsonb_set(counts, '{restored}', pg_catalog.to_jsonb((counts ->> 'restored')::bigint + number));
    ELSE
        IF relation = 'subscriptions' AND columns ?& ARRAY['subscriber_id', 'creator_id'] THEN
            made := made || ' AND t.creator_id = t.subscriber_id';
        ELSE
            made := made || ' AND EXISTS (SELECT FROM gateway.stripe_subscriptions s '
                'WHERE s.id = (t.stripe_subscription_id COLLATE "C"))';
        END IF;
        -- Triggers that count react to a row that stops being active, not to one that is deleted.
        EXECUTE pg_catalog.format('UPDATE public.%I t SET status = %L WHERE t.status::text = %L AND %s',
            relation, words ->> 'canceled', words ->> 'active', made) USING changed;
        EXECUTE pg_catalog.format('DELETE FROM public.%I t WHERE %s', relation, made) USING changed;
        GET DIAGNOSTICS number = ROW_COUNT;
        counts := pg_catalog.jsonb_set(counts, '{removed}', pg_catalog.to_jsonb((counts ->> 'removed')::bigint + number));
    END IF;
    names := ARRAY(
        SELECT DISTINCT f.name FROM gateway.rows_before b CROSS JOIN LATERAL pg_catalog.jsonb_object_keys(b.fields) AS f (name)
        WHERE b.relation = give_back_rows.relation AND columns ? f.name ORDER BY 1);
    IF names = '{}' THEN
        RETURN;
    END IF;
    made := pg_catalog.format(
        'FROM (SELECT b.place, (pg_catalog.jsonb_populate_record(NULL::public.%1$I, b.fields)).* FROM gateway.rows_before b '
        'WHERE b.relation = %1$L AND coalesce(b.user_id, '''') <> ALL ($1)) r (place, %2$s) '
        'WHERE (t.%3$I::text COLLATE "C") = r.place',
        relation, (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                   FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = pg_catalog.to_regclass('public.' || give_back_rows.relation) AND a.attnum > 0
                     AND NOT a.attisdropped),
        key);
    -- Unique values are taken away first. A row whose tier changes stops being active, for the sake of triggers that count.
    IF relation = 'subscriptions' THEN
        EXECUTE pg_catalog.format(
            'UPDATE public.subscriptions t SET stripe_subscription_id = NULL, status = %L %s '
            'AND (t.stripe_subscription_id IS DISTINCT FROM r.stripe_subscription_id %s)',
            words ->> 'canceled', made,
            CASE WHEN 'tier_id' = ANY (names) THEN 'OR t.tier_id IS DISTINCT FROM r.tier_id' END) USING changed;
    END IF;
    EXECUTE pg_catalog.format(
        'UPDATE public.%I t SET %s %s AND ROW(%s) IS DISTINCT FROM ROW(%s)', relation,
        (SELECT pg_catalog.string_agg(pg_catalog.format('%1$I = r.%1$I', n), ', ') FROM pg_catalog.unnest(names) n), made,
        (SELECT pg_catalog.string_agg(pg_catalog.format('t.%I', n), ', ') FROM pg_catalog.unnest(names) n),
        (SELECT pg_catalog.string_agg(pg_catalog.format('r.%I', n), ', ') FROM pg_catalog.unnest(names) n)) USING changed;
    GET DIAGNOSTICS number = ROW_COUNT;
    counts := pg_catalog.jsonb_set(counts, '{restored}', pg_catalog.to_jsonb((counts ->> 'restored')::bigint + number));
END
$$;
