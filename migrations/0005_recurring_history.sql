-- What recurred on each day, by mode, account, tier and currency: see `gateway.note_recurring`. Empty texts stand for one's own
-- account, for a price that is in no map, and for no currency. The index leads to one customer's money.

CREATE TABLE IF NOT EXISTS gateway.recurring_history (
    day date NOT NULL,
    livemode boolean NOT NULL,
    account text COLLATE "C" NOT NULL,
    tier text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    subscriptions bigint NOT NULL,
    mrr_minor bigint NOT NULL,
    PRIMARY KEY (day, livemode, account, tier, currency)
);
CREATE INDEX IF NOT EXISTS revenue_entries_by_customer ON gateway.revenue_entries (customer_id)
    WHERE customer_id IS NOT NULL;
