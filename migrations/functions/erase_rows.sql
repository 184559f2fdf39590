-- Reduces the person's rows and removes the user's claims. The public tables then show the user as one without a subscription.
CREATE OR REPLACE FUNCTION gateway.erase_rows(person jsonb, dry_run boolean) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
DECLARE
    users text[] := gateway.ids_of(person, 'users');
    cus text[] := gateway.ids_of(person, 'customers');
    subs text[] := gateway.ids_of(person, 'subscriptions');
    touched text[];
    reduced_customers bigint;
    reduced_subscriptions bigint;
    cut_revenue bigint;
    cut_bindings bigint;
    hidden bigint := 0;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(7449369);
    BEGIN
        UPDATE gateway.stripe_customers t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (cus) AND NOT t.raw ? 'erased';
        GET DIAGNOSTICS reduced_customers = ROW_COUNT;
        UPDATE gateway.stripe_subscriptions t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (subs) AND NOT t.raw ? 'erased';
        GET DIAGNOSTICS reduced_subscriptions = ROW_COUNT;
        UPDATE gateway.kept_customers t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (cus) OR t.metadata_user_id = ANY (users);
        UPDATE gateway.kept_subscriptions t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.id = ANY (subs) OR t.metadata_user_id = ANY (users);
        UPDATE gateway.revenue_entries t SET user_id = NULL
        WHERE t.user_id IS NOT NULL
          AND (t.user_id = ANY (users) OR t.customer_id = ANY (cus) OR t.subscription_id = ANY (subs));
        GET DIAGNOSTICS cut_revenue = ROW_COUNT;
        WITH cut AS (
            DELETE FROM gateway.claims c
            WHERE c.user_id = ANY (users) OR c.subject = ANY (cus) OR c.subject = ANY (subs)
            RETURNING c.user_id
        )
        SELECT pg_catalog.count(*), users || coalesce(pg_catalog.array_agg(DISTINCT c.user_id), '{}')
        INTO cut_bindings, touched FROM cut c;
        UPDATE gateway.stripe_customers t SET metadata_user_id = NULL WHERE t.metadata_user_id = ANY (users);
        UPDATE gateway.stripe_subscriptions t SET metadata_user_id = NULL WHERE t.metadata_user_id = ANY (users);
        UPDATE gateway.vouched_subscriptions t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.metadata_user_id = ANY (users) OR t.id = ANY (subs);
        UPDATE gateway.kept_vouched t SET raw = gateway.reduced_object(t.raw), metadata_user_id = NULL
        WHERE t.metadata_user_id = ANY (users) OR t.id = ANY (subs);
        UPDATE gateway.user_access a SET customer_id = NULL, shown = false
        WHERE a.customer_id = ANY (cus) OR a.user_id = ANY (users);
        touched := touched || ARRAY(SELECT a.user_id FROM gateway.user_access a WHERE a.subscription_id = ANY (subs));
        IF touched <> '{}' THEN
            PERFORM gateway.project(touched);
        END IF;
        DELETE FROM gateway.rows_before b WHERE b.user_id = ANY (users);
        DELETE FROM gateway.access_before b WHERE b.user_id = ANY (users);
        -- The row says nothing any more, unless a public table could not be updated. A user whose id does not fit the type of the
        -- public tables is in none of them.
        DELETE FROM gateway.user_access a
        WHERE a.user_id = ANY (users) AND (a.shown OR a.fault LIKE 'the user''s id does not fit%');
        SELECT pg_catalog.count(*) INTO hidden FROM gateway.user_access a WHERE a.user_id = ANY (users);
        IF dry_run THEN
            RAISE EXCEPTION 'a dry run' USING ERRCODE = 'GW009';
        END IF;
    EXCEPTION
        -- This undoes the whole block except the counts in its variables.
        WHEN SQLSTATE 'GW009' THEN NULL;
    END;
    RETURN pg_catalog.jsonb_build_object(
        'customers', reduced_customers, 'subscriptions', reduced_subscriptions, 'revenue', cut_revenue,
        'bindings', cut_bindings, 'not_shown', CASE WHEN dry_run THEN 0 ELSE hidden END);
END
$$;
