-- Why a row differs from what the gateway would show. `gives` tells whether the gateway's row gives access and `gave` whether the
-- other one does; `raw` is Stripe's status. The words are those of `ledger::shadow::Cause`.
CREATE OR REPLACE FUNCTION gateway.cause_of(
    kind text, field text, here text, there text, raw text, gives boolean, gave boolean) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = ''
AS $$
    SELECT CASE
        WHEN kind = 'missing_here' THEN CASE WHEN gave THEN 'unknown_access' ELSE 'unknown_row' END
        WHEN field = 'user' THEN CASE WHEN here IS NULL THEN 'unnamed' ELSE 'another_user' END
        WHEN field IN ('period_start', 'period_end') THEN CASE
            WHEN there IS NULL THEN 'renewal'
            WHEN here IS NULL THEN 'ahead'
            WHEN (here::bigint - there::bigint) % 900 = 0 AND pg_catalog.abs(here::bigint - there::bigint) <= 50400
                THEN 'local_time'
            WHEN there::bigint < here::bigint THEN 'renewal'
            ELSE 'ahead' END
        WHEN gives AND NOT gave THEN CASE
            WHEN raw IN ('past_due', 'unpaid') THEN 'late_payer'
            WHEN raw = 'trialing' THEN 'trial'
            ELSE 'missed_purchase' END
        WHEN gave AND NOT gives THEN 'missed_end'
        WHEN kind = 'missing_there' THEN 'no_row'
        WHEN field = 'status' THEN 'words'
        WHEN field = 'plan' THEN 'plan'
        WHEN field IN ('tier', 'bought') THEN CASE
            WHEN there IS NULL THEN 'no_tier' WHEN here = 'premium' THEN 'tier_unmapped' ELSE 'tier' END
        ELSE 'other'
    END
$$;
