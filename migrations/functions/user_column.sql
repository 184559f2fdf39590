-- The column of a public table that names the user.
CREATE OR REPLACE FUNCTION gateway.user_column(name text, columns jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE name WHEN 'user_profiles' THEN 'id' WHEN 'subscription_tiers' THEN 'user_id'
        ELSE CASE WHEN columns ? 'subscriber_id' THEN 'subscriber_id' ELSE 'user_id' END END
$$;
