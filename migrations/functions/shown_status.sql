-- The expression that says what readers are told of `a`, a row with `status` and `entitles`: one who has access is `active`, as they
-- ask for it, unless late payers are to be told apart. `words` are the table's own, `type` is that of the column.
CREATE OR REPLACE FUNCTION gateway.shown_status(words jsonb, type text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    late text := (SELECT o.late_payers FROM gateway.operation o WHERE o.only_row);
BEGIN
    RETURN pg_catalog.format(
        '(%L::pg_catalog.jsonb ->> CASE WHEN a.entitles%s THEN ''active'' ELSE a.status END)::%s', words,
        CASE WHEN late = 'past_due' THEN ' AND a.status <> ''past_due''' ELSE '' END, type);
END
$$;
