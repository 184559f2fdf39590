//! The batch function at one million subscriptions: it looks rows up through indexes, and reads no more of them than
//! the batch concerns. So do a takeover, the look at what needs a person and those at a person, an event and a page of subscriptions. Prints how long batches of 1, 16 and 256 events
//! take; asserts nothing about time.

use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::audit::Audit as _;
use colony_gateway::ledger::desk::{Desk as _, EventWanted, SubscriptionsWanted, Whom};
use colony_gateway::ledger::migrations::migrate_in_shadow;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports as _;
use colony_gateway::ledger::shadow::Shadow as _;
use colony_gateway::ledger::{Ledger, Outcome};
use colony_gateway::revenue::rows::RevenueKind;
use colony_gateway::revenue::verdict::Verdict;
use testkit::sql::Sessions;

use crate::generations::Generation;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};
use crate::stores::Postgres;

/// Subscriptions and claims; the other tables hold a tenth of it, which is as telling and much quicker to make.
const SUBSCRIPTIONS: u32 = 1_000_000;

/// Most rows of one table that an event may make the function read, over all of its statements.
const READS_AN_EVENT: i64 = 40;

fn fill() -> String {
    let user = "'00000000-0000-4000-8000-' || lpad(n::text, 12, '0')";
    let tenth = SUBSCRIPTIONS / 10;
    format!(
        "INSERT INTO gateway.stripe_subscriptions (id, version, source, livemode, customer_id, status, projected_status,
             entitles, preference, tier, items, mrr_minor, will_cancel, cancel_at_period_end, raw)
         SELECT 'sub_' || n, '1', 'payload', true, 'cus_' || n, 'active', 'active', true, '1.1.sub_' || n, 'silver', 1,
             999, false, false, '{{}}' FROM generate_series(1, {SUBSCRIPTIONS}) n;
         INSERT INTO gateway.claims
         SELECT 'cus_' || n, 50, {user}, 'x', '1' FROM generate_series(1, {SUBSCRIPTIONS}) n;
         INSERT INTO gateway.events (id, type, livemode, created, payload, outcome, recorded_at)
         SELECT 'evt_old_' || n, 'x', true, now(), '{{}}', 'applied', now() FROM generate_series(1, {tenth}) n;
         INSERT INTO gateway.revenue_entries (kind, key, version, as_of, livemode, amount_minor, outside_minor,
             uncaptured_minor, voided_minor, currency, occurred_at, payment_id)
         SELECT 'invoice', 'in_' || n, '1', now(), true, 999, 0, 0, 0, 'cad', now(), 'pi_' || n
         FROM generate_series(1, {tenth}) n;
         INSERT INTO gateway.user_access (user_id, subscription_id, status, tier, entitles, shown)
         SELECT {user}, 'sub_' || n, 'active', 'silver', true, true FROM generate_series(1, {tenth}) n;
         INSERT INTO public.subscriptions (user_id, subscriber_id, creator_id, tier, status, stripe_subscription_id)
         SELECT u, u, u, 'silver', 'active', 'sub_' || n
         FROM generate_series(1, {tenth}) n CROSS JOIN LATERAL (SELECT {user} AS u) x;
         ANALYZE;"
    )
}

/// A batch that touches every table: known customers who change, pay and are bound again.
fn batch(start: usize, length: usize) -> Vec<Verdict> {
    let events = (start + 1..=start + length).map(|number| {
        let (customer, user) = (format!("cus_{number}"), format!("00000000-0000-4000-8000-{number:012}"));
        Planned::new(&format!("evt_{number}"), "customer.subscription.updated", 1)
            .subscription(&format!("sub_{number}"), &customer, "past_due", |_| {})
            .customer_user(&customer, &user)
            .customer(&customer, false)
            .money(RevenueKind::Invoice, &format!("in_{number}"), 999, |_| {})
            .link(&format!("pi_{number}"), &format!("in_{number}"))
            .verdict()
    });
    events.collect()
}

#[tokio::test]
async fn the_batch_function_uses_indexes_at_a_million_subscriptions() {
    const EXPLAIN: &str = "
        DO $$
        DECLARE
            setting text;
        BEGIN
            FOREACH setting IN ARRAY ARRAY['session_preload_libraries = auto_explain',
                'auto_explain.log_min_duration = 0', 'auto_explain.log_nested_statements = on']
            LOOP
                EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
            END LOOP;
        END $$;";
    let store = Postgres::direct(Flavour::Plain).await;
    store.database.run(&fill()).await;
    let clock = Clock::system();
    let config = PostgresConfig { connections: 1, ..PostgresConfig::new(Secret::new(store.database.url())) };
    let ledger = PostgresLedger::new(&config).unwrap();
    let mut start = 0;
    for length in [1, 16, 256] {
        let mut best = None;
        for _ in 0..8 {
            let events = batch(start, length);
            start += length;
            let begun = clock.instant();
            let outcomes = ledger.apply(&events).await.unwrap();
            let took = begun.elapsed();
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{outcomes:?}");
            best = Some(best.map_or(took, |best| took.min(best)));
        }
        eprintln!("a batch of {length} events: {:?} at best of 8", best.unwrap_or_default());
    }

    let page =
        ledger.subscription_page(&SubscriptionsWanted { most: 2, ..SubscriptionsWanted::default() }).await.unwrap();
    assert_eq!(page.subscriptions.len(), 2);
    store.database.run(&format!("{EXPLAIN} SELECT pg_stat_reset()")).await;
    let explained = PostgresLedger::new(&config).unwrap();
    explained.apply(&batch(start, 256)).await.unwrap();
    let objects = ["sub_1", "cus_1", "in_1", "pi_1"].map(str::to_owned).to_vec();
    let report = explained.event(&EventWanted::new("evt_1", objects)).await.unwrap();
    assert_eq!((report.subscriptions.len(), report.customers.len(), report.money.len()), (1, 1, 1));
    let person = explained.person(&Whom::Subscription("sub_1".to_owned())).await.unwrap();
    assert_eq!((person.users.len(), person.subscriptions.len()), (1, 1));
    assert_eq!(explained.subscription_facts(&["sub_1".to_owned()]).await.unwrap().len(), 1);
    explained.close().await;

    let plans = store.database.server_log();
    for table in ["stripe_subscriptions", "claims", "events", "revenue_entries", "user_access", "subscriptions"] {
        assert!(!plans.contains(&format!("Seq Scan on {table} ")), "a sequential scan of {table}:\n{plans}");
        let indexed = plans.lines().any(|line| line.contains("Index") && line.contains(&format!(" on {table} ")));
        assert!(indexed, "no index scan of {table}:\n{plans}");
    }
    for index in ["stripe_subscriptions_pkey", "claims_pkey", "revenue_entries_pkey", "events_pkey"] {
        assert!(plans.contains(&format!("Conflict Arbiter Indexes: {index}")), "{index}:\n{plans}");
    }

    // A scan of a whole index would look like an index scan above; here it shows.
    let reads = "SELECT relname::text, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS reads
                 FROM pg_stat_user_tables";
    let reads = store.pool.rows(reads).await.unwrap();
    for table in reads {
        let (name, reads): (String, i64) = (table.get("relname"), table.get("reads"));
        assert!(reads <= 256 * READS_AN_EVENT, "{name}: {reads} rows were read for 256 events");
    }
}

#[tokio::test]
async fn tables_that_grow_without_being_analysed_cost_a_batch_no_more() {
    const BATCHES: usize = 40;
    const EVENTS: usize = 64;
    let store = Postgres::direct(Flavour::Plain).await;
    // Plans are made while the tables are empty, and kept.
    store.database.run("ALTER TABLE gateway.claims SET (autovacuum_enabled = off)").await;
    store.database.run("ALTER TABLE gateway.user_access SET (autovacuum_enabled = off)").await;
    store.database.run("ALTER TABLE public.subscriptions SET (autovacuum_enabled = off)").await;
    let config = PostgresConfig { connections: 1, ..PostgresConfig::new(Secret::new(store.database.url())) };
    let ledger = PostgresLedger::new(&config).unwrap();
    for number in 0..BATCHES {
        let outcomes = ledger.apply(&batch(number * EVENTS, EVENTS)).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{outcomes:?}");
    }
    // What a connection has counted is there for others when it has ended.
    ledger.close().await;
    let reads = rows_read(&store.pool).await;
    let most = i64::try_from(BATCHES * EVENTS).unwrap() * READS_AN_EVENT;
    assert!((1..=most).contains(&reads), "{reads} rows were read, and {most} are allowed");
}

/// Rows that were read of the tables of which a user's access is made, and of those in which it is shown.
async fn rows_read(pool: &Sessions) -> i64 {
    let read =
        "SELECT pg_stat_clear_snapshot(), coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)
                ::bigint AS reads FROM pg_stat_user_tables WHERE relname IN
                ('claims', 'user_access', 'subscriptions', 'stripe_subscriptions', 'subscription_tiers', 'user_profiles')";
    pool.rows(read).await.unwrap()[0].get("reads")
}

/// Users who are shown at a takeover.
const TAKEN_OVER: u32 = 2000;

/// Most rows of all these tables that showing a user may make the functions read, looks at what needs a person included.
const READS_A_USER: i64 = 100;

/// A user reads each table a few times, however many there are, although none was ever analysed.
async fn a_takeover_reads_a_few_rows_a_user(generation: Generation) {
    let user = "'00000000-0000-4000-8000-' || lpad(n::text, 12, '0')";
    let database = Database::create(Flavour::Supabase).await;
    let users: String =
        (1..=TAKEN_OVER).map(|number| generation.user(&format!("00000000-0000-4000-8000-{number:012}"))).collect();
    database.run(&format!("{}{users}", generation.tables())).await;
    let pool = database.sessions();
    migrate_in_shadow(&mut *pool.session().await).await.unwrap();
    let script = format!(
        "DO $$ DECLARE relation regclass; BEGIN
             FOR relation IN SELECT c.oid FROM pg_class c WHERE c.relkind = 'r'
                 AND c.relnamespace IN ('gateway'::regnamespace, 'public'::regnamespace) LOOP
                 EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', relation);
             END LOOP; END $$;
         INSERT INTO gateway.stripe_subscriptions (id, version, source, livemode, customer_id, status, projected_status,
             entitles, preference, tier, items, mrr_minor, will_cancel, cancel_at_period_end, raw)
         SELECT 'sub_' || n, '1', 'payload', true, 'cus_' || n, 'active', 'active', true, '1.1.sub_' || n, 'silver', 1,
             999, false, false, '{{}}' FROM generate_series(1, {TAKEN_OVER}) n;
         INSERT INTO gateway.claims
         SELECT 'sub_' || n, 80, {user}, 'x', '1' FROM generate_series(1, {TAKEN_OVER}) n;"
    );
    database.run(&script).await;
    database.run("SELECT pg_stat_reset()").await;
    let config = PostgresConfig { connections: 1, ..PostgresConfig::new(Secret::new(database.url())) };
    let ledger = PostgresLedger::new(&config).unwrap();
    ledger.attention(3).await.unwrap();
    ledger.set_shadow(false).await.unwrap();
    let mut after = String::new();
    while let Some(last) = ledger.refresh(&after).await.unwrap() {
        after = last;
    }
    let attention = ledger.attention(3).await.unwrap();
    ledger.close().await;
    assert_eq!((attention.orphans, attention.not_shown.entitled), (0, 0));
    let (reads, most) = (rows_read(&pool).await, i64::from(TAKEN_OVER) * READS_A_USER);
    assert!((1..=most).contains(&reads), "{generation:?}: {reads} rows were read, and {most} are allowed");
}

#[tokio::test]
async fn a_takeover_reads_a_few_rows_a_user_on_every_generation() {
    for generation in Generation::ALL {
        a_takeover_reads_a_few_rows_a_user(generation).await;
    }
}
