//! Commits that wait for a standby: nothing is told as recorded that no standby has, whoever cancels and whoever asks.

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::witness::Witness as _;
use colony_gateway::ledger::{Ledger as _, LedgerErrorKind, Outcome};
use testkit::sql::Sessions;
use tokio::task::JoinSet;

use crate::plans::Planned;
use crate::postgres::{Database, Flavour};

/// Long enough for anything here.
const LONG: std::time::Duration = std::time::Duration::from_mins(1);

/// Waits until so many statements wait for the standby.
async fn until_waiting(sessions: &Sessions, wanted: i64) {
    let question = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waiting = async { while sessions.value::<i64>(question).await.unwrap() != wanted {} };
    tokio::time::timeout(LONG, waiting).await.expect("they wait for the standby");
}

/// Says for which standby commits wait.
async fn wait_for(database: &Database, sessions: &Sessions, standby: &str) {
    database.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'")).await;
    database.run("SELECT pg_reload_conf()").await;
    let is_said =
        async { while sessions.value::<String>("SHOW synchronous_standby_names").await.unwrap() != standby {} };
    tokio::time::timeout(LONG, is_said).await.expect("the server reads its settings");
}

#[tokio::test]
async fn nothing_is_told_as_recorded_that_no_standby_has() {
    let database = Database::create(Flavour::Durable).await;
    let sessions = database.sessions();
    migrate(&mut *sessions.session().await).await.unwrap();
    let config = PostgresConfig { deadline: LONG, ..PostgresConfig::new(Secret::new(database.url())) };
    let ledger = std::sync::Arc::new(PostgresLedger::new(&config).unwrap());
    let verdict = || Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict();
    wait_for(&database, &sessions, "nobody").await;

    let applying = ledger.clone();
    let mut batches = JoinSet::new();
    batches.spawn(async move { applying.apply(&[verdict()]).await });
    until_waiting(&sessions, 1).await;
    database.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    let error = batches.join_next().await.unwrap().unwrap().expect_err("its commit reached no standby");
    assert_eq!(error.kind, LedgerErrorKind::TimedOut, "{error}");
    assert_eq!(sessions.value::<i64>("SELECT count(*) FROM gateway.events").await.unwrap(), 1, "it is visible");

    let (applying, asking) = (ledger.clone(), ledger.clone());
    batches.spawn(async move { applying.apply(&[verdict()]).await });
    let mut words = JoinSet::new();
    words.spawn(async move { asking.witness(&["evt_1".to_owned()]).await });
    until_waiting(&sessions, 2).await;
    let is_answered = batches.try_join_next().is_some() || words.try_join_next().is_some();
    assert!(!is_answered, "neither is answered before a standby has it");
    wait_for(&database, &sessions, "").await;
    assert_eq!(batches.join_next().await.unwrap().unwrap().unwrap(), [Outcome::Duplicate]);
    assert_eq!(words.join_next().await.unwrap().unwrap().unwrap().events.len(), 1);
}
