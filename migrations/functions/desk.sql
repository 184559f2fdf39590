-- Answers questions about persons, events and money, and notes what these answers need (`src/ledger/desk.rs` has the form of each
-- request).
CREATE OR REPLACE FUNCTION gateway.desk(request jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    RETURN CASE request ->> 'op'
        WHEN 'person' THEN gateway.person(request ->> 'kind', request ->> 'id', (request ->> 'most')::integer)
        WHEN 'business' THEN gateway.business((request ->> 'days')::integer)
        WHEN 'subscriptions' THEN gateway.subscription_page(
            request ->> 'chosen', request ->> 'before', (request ->> 'most')::integer)
        WHEN 'event' THEN gateway.event_report(
            request ->> 'id', gateway.ids_of(request, 'objects'), (request ->> 'most')::integer)
        WHEN 'note' THEN gateway.note_recurring()
    END;
END
$$;
