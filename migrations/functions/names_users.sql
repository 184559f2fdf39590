-- Whether platform rows of `public.subscriptions` can be given the user of their subscriber: both columns are there, of one type, and
-- the user is not worked out by the table itself.
CREATE OR REPLACE FUNCTION gateway.names_users() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = ''
AS $$
DECLARE
    columns jsonb := gateway.columns_of('public.subscriptions');
BEGIN
    RETURN gateway.subscriptions_form() = 'pairs' AND columns ? 'user_id'
        AND columns -> 'user_id' = columns -> 'subscriber_id';
END
$$;
