-- Refuses what a sender asks for if it takes this database to be in another mode, or another ledger: behind the address that the
-- sender knows there can be another database since it last asked. A sender that names no ledger takes any.
CREATE OR REPLACE FUNCTION gateway.agree(request jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce((request ->> 'shadow')::boolean, false) <> gateway.is_shadow() THEN
        RAISE EXCEPTION 'the sender and the database differ about shadow mode' USING ERRCODE = 'GW004';
    END IF;
    IF request ? 'ledger' AND NOT EXISTS (
        SELECT FROM gateway.identity i WHERE i.only_row AND i.id = request ->> 'ledger') THEN
        RAISE EXCEPTION 'this is another ledger than %', request ->> 'ledger' USING ERRCODE = 'GW007';
    END IF;
END
$$;
