-- Writes one projection, and returns the entitled users whom the table has no row for.
CREATE OR REPLACE FUNCTION gateway.show_one_table(name text, users text[], columns jsonb) RETURNS text[]
LANGUAGE plpgsql
AS $$
BEGIN
    IF name = 'user_profiles' THEN
        RETURN gateway.show_user_profiles(users, columns);
    ELSIF name = 'subscription_tiers' THEN
        PERFORM gateway.show_subscription_tiers(users, columns);
    ELSIF gateway.subscriptions_form() = 'users' THEN
        PERFORM gateway.show_user_rows(users, columns);
    ELSE
        PERFORM gateway.show_subscriptions(users, columns);
    END IF;
    RETURN NULL;
END
$$;
