-- Whether the gateway can write the subscriber as the user of platform rows of `public.subscriptions`: both columns are there and
-- of one type, and the table does not compute the user itself.
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
