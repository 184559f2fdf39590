-- Notes the present recurring revenue as that of this day (UTC), in place of an earlier note of the day. Two runs at once note
-- the same. If nothing recurs, one line without tier and currency says so: a day without a line is one without a note.
CREATE OR REPLACE FUNCTION gateway.note_recurring() RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' SET jit = off
AS $$
DECLARE
    today date := (pg_catalog.now() AT TIME ZONE 'UTC')::date;
    lines bigint;
BEGIN
    DELETE FROM gateway.recurring_history h WHERE h.day = today;
    INSERT INTO gateway.recurring_history (day, livemode, account, tier, currency, subscriptions, mrr_minor)
    SELECT today, r.livemode, coalesce(r.account, ''), coalesce(r.tier, ''), coalesce(r.currency, ''), r.subscriptions, r.mrr_minor
    FROM gateway.recurring_revenue r
    UNION ALL
    SELECT today, true, '', '', '', 0, 0 WHERE NOT EXISTS (SELECT FROM gateway.recurring_revenue)
    ON CONFLICT (day, livemode, account, tier, currency) DO UPDATE
        SET subscriptions = excluded.subscriptions, mrr_minor = excluded.mrr_minor;
    GET DIAGNOSTICS lines = ROW_COUNT;
    RETURN pg_catalog.jsonb_build_object('day', today, 'lines', lines);
END
$$;
