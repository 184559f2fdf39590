-- A row of money from the form that a recount uses, with moments in milliseconds.
CREATE OR REPLACE FUNCTION gateway.recount_money(told jsonb) RETURNS gateway.revenue_entries
LANGUAGE sql STABLE SET search_path = ''
AS $$
    SELECT pg_catalog.jsonb_populate_record(NULL::gateway.revenue_entries, told || pg_catalog.jsonb_build_object(
        'as_of', pg_catalog.to_timestamp(0) + (told ->> 'as_of')::bigint * interval '1 millisecond',
        'occurred_at', pg_catalog.to_timestamp(0) + (told ->> 'occurred_at')::bigint * interval '1 millisecond'))
$$;
