//! Indexes of the predecessor's `public.subscriptions`: those of a large one are built beside the writers of the app.

use std::time::Duration;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::{Built, LOCK_MAX, build, left, migrate, migrate_in_shadow, plan};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports as _;
use colony_gateway::ledger::{Ledger as _, Outcome};
use testkit::sql::Session;
use tokio_postgres::types::Type;

use crate::generations::Generation;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};
use crate::stores::RUNTIME_ROLE;

const USER: &str = "00000000-0000-4000-8000-000000000001";

/// Its rows fill more than the 16 MiB up to which a table counts as small.
const MANY_ROWS: &str = "
    INSERT INTO public.subscriptions (status, stripe_customer_id)
    SELECT 'expired', repeat('x', 1900) FROM generate_series(1, 9000)";

/// A write of the app. Gives up where a lock is not to be had.
const WRITE: &str = "SET lock_timeout = '60s'; INSERT INTO public.subscriptions (status) VALUES ('expired')";

const BY_USER: &str = "gateway_subscriptions_by_user";
const ALL: [&str; 3] = [BY_USER, "gateway_subscriptions_by_stripe_id", "gateway_subscriptions_platform_row"];

async fn connect(database: &Database) -> Session {
    database.session().await
}

/// Tables of the first generation with a platform row of [`USER`].
async fn predecessor(rows: &str) -> Database {
    let database = Database::create(Flavour::Supabase).await;
    let generation = Generation::First;
    database.run(&(generation.tables() + &generation.user(USER))).await;
    database.run(&generation.row(USER, "sub_1", "active").unwrap()).await;
    database.run(rows).await;
    database
}

/// Names of the gateway's indexes on the table that are of use, each with its definition.
async fn indexes(database: &Database) -> Vec<(String, String)> {
    let question =
        "SELECT c.relname::text, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                    WHERE i.indrelid = 'public.subscriptions'::regclass AND c.relname LIKE 'gateway%' AND i.indisvalid
                    ORDER BY array_position($1, c.relname::text)";
    let rows = database.sessions().ask(question, &[(&ALL.as_slice(), Type::TEXT_ARRAY)]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn names(database: &Database) -> Vec<String> {
    indexes(database).await.into_iter().map(|(name, _)| name).collect()
}

async fn built(connection: &mut Session) -> Vec<(String, String)> {
    let mut said = Vec::new();
    build(connection, LOCK_MAX, |left, built| said.push((left.what.clone(), format!("{built:?}")))).await.unwrap();
    said
}

/// Until a build waits for the transactions that are open.
async fn until_a_build_waits(database: &Database) {
    let question = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'
                    AND wait_event_type = 'Lock' AND datname = current_database())";
    let pool = database.sessions();
    while !pool.value::<bool>(question).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_large_table_is_indexed_while_the_app_goes_on_writing_it() {
    let database = predecessor(MANY_ROWS).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    assert_eq!(names(&database).await, Vec::<String>::new(), "nothing that takes long is within the transaction");

    // Until it is indexed, all works, and is told of.
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    let paid =
        Planned::new("evt_1", "x", 0).subscription_user("sub_1", USER).subscription("sub_1", "cus_1", "active", |_| {});
    assert_eq!(ledger.apply(&[paid.verdict()]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(ledger.summary(1).await.unwrap().counts.not_shown, 0);
    let lacking = ledger.attention(0).await.unwrap().left;
    assert_eq!(plan(&mut *connect(&database).await, false).await.unwrap().left, lacking);
    let lacking: Vec<&str> = lacking.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(lacking[1..], ALL);

    let writer = database.sessions();
    let mut open = writer.begin().await.unwrap();
    open.execute(WRITE).await.unwrap();
    // What a migration's transaction runs waits for no writer.
    database.run("SET lock_timeout = '5s'; SELECT gateway.index_subscriptions()").await;
    let builder = database.clone();
    let building = tokio::task::JoinSet::from_iter([async move { built(&mut connect(&builder).await).await }]);
    until_a_build_waits(&database).await;
    database.run(WRITE).await;
    open.commit().await.unwrap();
    let said = building.join_all().await.remove(0);
    assert!(said.iter().all(|(_, built)| built == "Done"), "{said:?}");
    assert_eq!(names(&database).await, ALL);
    assert_eq!(left(&mut *connect(&database).await).await.unwrap(), []);
    assert_eq!(built(&mut connect(&database).await).await, []);
}

#[tokio::test]
async fn platform_rows_of_a_large_table_get_their_user_beside_the_indexes() {
    let database = predecessor(MANY_ROWS).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    built(&mut connect(&database).await).await;
    let question = "SELECT user_id::text FROM public.subscriptions WHERE user_id IS NOT NULL";
    let users: Vec<String> = database.sessions().values(question).await.unwrap();
    assert_eq!(users, [USER], "of this row and of no other");
}

#[tokio::test]
async fn an_index_that_a_broken_build_left_is_replaced() {
    for rows in ["", MANY_ROWS] {
        let database = predecessor(rows).await;
        migrate(&mut *connect(&database).await).await.unwrap();
        built(&mut connect(&database).await).await;
        // Two rows of one user end the build of a unique index; what was begun of it stays.
        database
            .run(&format!(
                "INSERT INTO public.subscriptions (status, user_id) VALUES ('expired', '{USER}'), ('expired', '{USER}');
                 DROP INDEX public.{BY_USER}"
            ))
            .await;
        let broken = format!("CREATE UNIQUE INDEX CONCURRENTLY {BY_USER} ON public.subscriptions (user_id)");
        let pool = database.sessions();
        pool.execute(broken).await.unwrap_err();
        assert_eq!(names(&database).await, ALL[1..], "it is there and of no use");
        database.run("SELECT gateway.prepare_subscriptions()").await;
        if rows == MANY_ROWS {
            let said = built(&mut connect(&database).await).await;
            assert!(said.iter().all(|(_, built)| built == "Done"), "{said:?}");
        }
        let found = indexes(&database).await;
        assert_eq!(found.len(), ALL.len(), "{found:?}");
        assert!(found[0].1.starts_with("CREATE INDEX "), "{found:?}");
    }
}

#[tokio::test]
async fn a_build_that_cannot_be_ends_with_a_word_and_leaves_nothing() {
    let database = predecessor(MANY_ROWS).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    // Several platform rows of one user: that index cannot be, the others can.
    database
        .run(&format!(
            "ALTER TABLE public.subscriptions DROP CONSTRAINT IF EXISTS subscriptions_subscriber_id_creator_id_key;
             INSERT INTO public.subscriptions (subscriber_id, creator_id, status) VALUES ('{USER}', '{USER}', 'expired')"
        ))
        .await;
    let said = built(&mut connect(&database).await).await;
    assert_eq!(said.last(), Some(&(ALL[2].to_owned(), "NotUnique".to_owned())));
    assert_eq!(names(&database).await, ALL[..2]);

    // A transaction that stays open.
    database.run(&format!("DROP INDEX public.{BY_USER}")).await;
    let writer = database.sessions();
    let mut open = writer.begin().await.unwrap();
    open.execute(WRITE).await.unwrap();
    let mut said = None;
    let mut connection = connect(&database).await;
    build(&mut connection, Duration::from_millis(200), |left, built| {
        if let (BY_USER, Built::Failed(error)) = (left.what.as_str(), built) {
            said = Some(error.message.clone());
        }
    })
    .await
    .unwrap();
    let said = said.expect("one that failed");
    assert!(said.contains("pg_stat_activity") && said.contains("colony-gateway migrate"), "{said}");
    open.rollback().await.unwrap();
    built(&mut connect(&database).await).await;
    assert_eq!(names(&database).await, ALL[..2]);
}

#[tokio::test]
async fn nothing_is_built_on_a_table_that_is_not_written() {
    let database = predecessor(MANY_ROWS).await;
    migrate_in_shadow(&mut *connect(&database).await).await.unwrap();
    assert_eq!(left(&mut *connect(&database).await).await.unwrap(), []);
    database.run("UPDATE gateway.operation SET shadow = false; UPDATE gateway.projections SET mode = 'off'").await;
    assert_eq!(left(&mut *connect(&database).await).await.unwrap(), []);
}

/// A table of subscribers and creators that is divided by `divided`.
fn partitioned(divided: &str) -> String {
    format!(
        "CREATE TABLE public.subscriptions (
             id bigint GENERATED ALWAYS AS IDENTITY, subscriber_id uuid, creator_id uuid, status text, stripe_subscription_id text,
             created_at timestamptz NOT NULL DEFAULT now()) PARTITION BY {divided};
         CREATE TABLE public.part PARTITION OF public.subscriptions DEFAULT;
         INSERT INTO public.subscriptions (subscriber_id, creator_id, status) VALUES ('{USER}', '{USER}', 'expired')"
    )
}

#[tokio::test]
async fn a_table_that_time_divides_is_indexed_without_a_promise_that_it_cannot_keep() {
    for (divided, unique) in [("RANGE (created_at)", false), ("RANGE (subscriber_id)", true)] {
        let database = Database::create(Flavour::Plain).await;
        database.run(&partitioned(divided)).await;
        let mut connection = connect(&database).await;
        migrate(&mut connection).await.unwrap();
        let warned = connection.take_warnings();
        assert_eq!(
            warned.iter().filter(|told| told.contains("one platform row")).count(),
            usize::from(!unique),
            "{warned:?}"
        );
        let found = indexes(&database).await;
        assert_eq!(found.iter().map(|(name, _)| name).collect::<Vec<_>>(), ALL.iter().collect::<Vec<_>>(), "{divided}");
        assert_eq!(found[2].1.starts_with("CREATE UNIQUE INDEX "), unique, "{found:?}");
        assert_eq!(left(&mut connection).await.unwrap(), []);
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
        let paid = Planned::new("evt_1", "x", 0).subscription_user("sub_1", USER).subscription(
            "sub_1",
            "cus_1",
            "active",
            |_| {},
        );
        ledger.apply(&[paid.verdict()]).await.unwrap();
        let rows = "SELECT user_id::text || ' ' || status FROM public.subscriptions";
        assert_eq!(database.sessions().values::<String>(rows).await.unwrap(), [format!("{USER} active")]);
    }
}

#[tokio::test]
async fn a_table_that_refuses_what_a_migration_would_add_does_not_end_it() {
    let database = predecessor("").await;
    database
        .run(
            "ALTER TABLE public.subscriptions ADD user_id uuid;
             CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'rows are for the app to change'; END $$;
             CREATE TRIGGER no BEFORE UPDATE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.no()",
        )
        .await;
    let mut connection = connect(&database).await;
    migrate(&mut connection).await.unwrap();
    let warned = connection.take_warnings();
    assert!(warned.iter().any(|told| told.contains("rows are for the app to change")), "{warned:?}");
    assert_eq!(names(&database).await, ALL);
}

#[tokio::test]
async fn a_build_of_a_role_whose_work_is_hidden_is_left_alone() {
    let database = predecessor(MANY_ROWS).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let url = database.url_as(RUNTIME_ROLE).await;
    database
        .run(&format!(
            "GRANT USAGE ON SCHEMA gateway TO {RUNTIME_ROLE}; GRANT SELECT ON ALL TABLES IN SCHEMA gateway TO {RUNTIME_ROLE};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA gateway TO {RUNTIME_ROLE}"
        ))
        .await;
    let mut open = database.sessions().begin().await.unwrap();
    open.execute(WRITE).await.unwrap();
    let builder = database.clone();
    let building = tokio::task::JoinSet::from_iter([async move { built(&mut connect(&builder).await).await }]);
    until_a_build_waits(&database).await;
    let found = left(&mut *testkit::sql::Session::open(&url).await).await.unwrap();
    let of_it: Vec<_> = found.iter().filter(|left| left.what == BY_USER).map(|left| &left.statement).collect();
    assert_eq!(of_it, [&None], "it is being built");
    open.rollback().await.unwrap();
    building.join_all().await;
    assert_eq!(names(&database).await, ALL);
}

#[tokio::test]
async fn of_two_builds_at_once_one_gives_up_and_removes_nothing_of_the_other() {
    let database = predecessor(MANY_ROWS).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let pool = database.sessions();
    let mut open = pool.begin().await.unwrap();
    open.execute("SELECT FROM public.subscriptions WHERE subscriber_id = creator_id FOR UPDATE").await.unwrap();
    // One knows what to build, and waits before it builds an index.
    let (one, other) = (database.clone(), database.clone());
    let mut builds = tokio::task::JoinSet::new();
    builds.spawn(async move {
        build(&mut *connect(&one).await, Duration::from_secs(1), |_, _| {}).await.unwrap();
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                 AND query LIKE ";
    while pool.value::<i64>(format!("{waits} '%DO $do$%'")).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The other begins to build one meanwhile.
    builds.spawn(async move {
        let statement = format!("CREATE INDEX CONCURRENTLY IF NOT EXISTS {BY_USER} ON public.subscriptions (user_id)");
        connect(&other).await.execute(statement).await.unwrap();
    });
    until_a_build_waits(&database).await;
    while builds.len() == 2 && pool.value::<i64>(format!("{waits} 'DROP INDEX%'")).await.unwrap() == 0 {
        if let Some(ended) = builds.try_join_next() {
            ended.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    open.rollback().await.unwrap();
    builds.join_all().await;
    assert!(names(&database).await.contains(&BY_USER.to_owned()));
}
