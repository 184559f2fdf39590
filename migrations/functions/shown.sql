-- How the public tables are written, in the order in which rows may point to others: `statements` over `$1`, the users; `$2` is the
-- object that the query `tiers` makes of them, `lacking` the query for the users whom a table does not show afterwards: the table's name
-- and the user, or no name where the user's profile is missing. `left_out` names columns by table that are not written.
CREATE OR REPLACE FUNCTION gateway.shown(
    left_out jsonb, OUT statements text[], OUT tiers text, OUT lacking text, OUT id_type text)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    name text;
    columns jsonb;
    more text[];
    missing text;
BEGIN
    statements := '{}';
    FOREACH name IN ARRAY ARRAY['subscription_tiers', 'subscriptions', 'user_profiles'] LOOP
        columns := gateway.projection(name);
        CONTINUE WHEN columns IS NULL;
        id_type := coalesce(id_type, gateway.base_type(columns ->> gateway.user_column(name, columns)));
        columns := columns - ARRAY(SELECT pg_catalog.jsonb_array_elements_text(coalesce(left_out -> name, '[]')));
        IF name = 'user_profiles' THEN
            SELECT p.statements, p.lacking INTO more, missing FROM gateway.shown_user_profiles(columns) p;
        ELSIF name = 'subscription_tiers' THEN
            more := gateway.shown_subscription_tiers(columns);
        ELSIF gateway.subscriptions_form() = 'users' THEN
            more := gateway.shown_user_rows(columns);
        ELSE
            SELECT s.statements, s.tiers INTO more, tiers FROM gateway.shown_subscriptions(columns) s;
        END IF;
        statements := statements || more;
        lacking := nullif(pg_catalog.concat_ws(
            ' || ', lacking, '(' || missing || ')', '(' || gateway.shown_refused(name, columns) || ')'), '');
        missing := NULL;
    END LOOP;
    id_type := coalesce(id_type, 'text');
END
$$;
