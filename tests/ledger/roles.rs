//! The role that runs the gateway: what it may call, and that it may do nothing else.

use std::time::Duration;

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::audit::{Audit as _, LeaseAsk};
use colony_gateway::ledger::desk::{Desk as _, EventWanted, SubscriptionsWanted, Whom};
use colony_gateway::ledger::erase::Erasure as _;
use colony_gateway::ledger::expiry::Expiry as _;
use colony_gateway::ledger::migrations::{RoleName, Wanted, migrate, migrate_to};
use colony_gateway::ledger::person::Subject;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::{FindingsWanted, Reports as _};
use colony_gateway::ledger::shadow::Shadow as _;
use colony_gateway::ledger::witness::Witness as _;
use colony_gateway::ledger::{Ledger as _, LedgerErrorKind, Outcome};
use testkit::sql::Session;

use crate::plans::Planned;
use crate::postgres::{Database, Flavour};
use crate::stores::{Postgres, RUNTIME_ROLE, Store as _};

fn ledger(url: String) -> PostgresLedger {
    let deadline = Duration::from_mins(1);
    PostgresLedger::new(&PostgresConfig { deadline, ..PostgresConfig::new(Secret::new(url)) }).unwrap()
}

async fn connect(url: &str) -> Session {
    Session::open(url).await
}

fn named(role: &str) -> Wanted {
    Wanted { runtime_role: Some(role.parse::<RoleName>().unwrap()), ..Wanted::default() }
}

/// A subscriber, so that rows are shown in the public table.
fn bought(event: &str) -> [colony_gateway::revenue::verdict::Verdict; 1] {
    let plan = Planned::new(event, "customer.subscription.created", 0).subscription("sub_1", "cus_1", "active", |_| {});
    [plan.subscription_user("sub_1", "ann").verdict()]
}

#[tokio::test]
async fn all_that_serving_calls_is_answered() {
    let store = Postgres::direct(Flavour::Plain).await;
    let ledger = ledger(store.database.url_as(RUNTIME_ROLE).await);
    ledger.check().await.unwrap();
    assert_eq!(ledger.apply(&bought("evt_1")).await.unwrap(), [Outcome::Applied]);
    let shown: i64 = store.pool.value("SELECT count(*) FROM public.subscriptions").await.unwrap();
    assert_eq!(shown, 1);
    ledger.upkeep().await.unwrap();
    ledger.summary(7).await.unwrap();
    assert_eq!(ledger.subscriptions(10).await.unwrap().len(), 1);
    ledger.attention(10).await.unwrap();
    assert_eq!(ledger.person(&Whom::User("ann".to_owned())).await.unwrap().subscriptions.len(), 1);
    ledger.business(7).await.unwrap();
    assert_eq!(ledger.note_recurring().await.unwrap().lines, 1);
    assert_eq!(ledger.subscription_page(&SubscriptionsWanted::default()).await.unwrap().subscriptions.len(), 1);
    ledger.event(&EventWanted::new("evt_1", Vec::new())).await.unwrap();
    ledger.findings(&FindingsWanted::default(), 10).await.unwrap();
    assert_eq!(ledger.known_events(&["evt_1".to_owned()]).await.unwrap(), ["evt_1"]);
    ledger.witness(&["evt_1".to_owned()]).await.unwrap();
    assert_eq!(ledger.subscription_facts(&["sub_1".to_owned()]).await.unwrap().len(), 1);
    ledger.subscriptions_after("", true).await.unwrap();
    ledger
        .lease(&LeaseAsk { name: "events", holder: "here".to_owned(), span: Duration::from_mins(1), covered: None })
        .await
        .unwrap();
    assert_eq!(ledger.is_shadow().await.unwrap(), Some(false));
    ledger.shadow_report(10).await.unwrap();
    ledger.rehearse("").await.unwrap();
    ledger.old_owners().await.unwrap();
    ledger.expire_payloads(Timestamp::from_seconds(1), None).await.unwrap();
    let found = ledger.find_person(&Subject::user("ann").unwrap()).await.unwrap();
    ledger.mark_erased(&found.person).await.unwrap();
    ledger.erase_events(&found.person, "", false).await.unwrap();
    ledger.erase_rows(&found.person, false).await.unwrap();
    let caller = ledger.caller().await.unwrap().unwrap();
    assert_eq!((caller.role.as_str(), caller.excess()), (RUNTIME_ROLE, None));
    let question = format!(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'gateway\\_%' AND NOT
         has_function_privilege('{RUNTIME_ROLE}', oid, 'EXECUTE') ORDER BY 1"
    );
    let owners: Vec<String> = store.pool.values(question).await.unwrap();
    assert_eq!(owners, ["gateway_refresh", "gateway_set_shadow"], "a new entry is in migrations/privileges.sql");
}

#[tokio::test]
async fn nothing_else_is_allowed() {
    let store = Postgres::direct(Flavour::Supabase).await;
    store.ledger().apply(&bought("evt_1")).await.unwrap();
    let mut connection = connect(&store.database.url_as(RUNTIME_ROLE).await).await;
    for statement in [
        "DROP SCHEMA gateway CASCADE",
        "DROP TABLE gateway.events",
        "DROP FUNCTION public.gateway_check()",
        "ALTER TABLE gateway.events ADD COLUMN x text",
        "ALTER FUNCTION public.gateway_check() SECURITY INVOKER",
        "ALTER TABLE public.subscriptions DISABLE TRIGGER ALL",
        "CREATE TABLE gateway.mine (x int)",
        "CREATE FUNCTION gateway.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT * FROM gateway.events",
        "SELECT * FROM gateway.subscription_access",
        "UPDATE gateway.stripe_subscriptions SET tier = 'gold'",
        "INSERT INTO gateway.claims VALUES ('sub_1', 99, 'eve', 'x', '9')",
        "DELETE FROM gateway.events",
        "TRUNCATE gateway.events",
        "UPDATE gateway.operation SET shadow = true",
        "UPDATE public.subscriptions SET tier = 'gold'",
        "SELECT gateway.apply_batch('{}')",
        "SELECT public.gateway_set_shadow(true)",
        "SELECT public.gateway_refresh('', 10)",
        "SET ROLE postgres",
    ] {
        let error = connection.execute(statement).await.unwrap_err();
        let code = error.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
    }
    let error = ledger(store.database.url_as(RUNTIME_ROLE).await).set_shadow(true).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Auth);
    assert!(error.message.contains("`shadow begin`") && error.message.contains("owns the schema"), "{error}");
}

#[tokio::test]
async fn a_role_that_was_named_once_may_call_what_is_made_anew() {
    let store = Postgres::direct(Flavour::Plain).await;
    store.database.run("UPDATE gateway.definitions SET checksum = '00'").await;
    assert!(!migrate(&mut *store.pool.session().await).await.unwrap().is_empty());
    store.ledger().check().await.unwrap();
    assert_eq!(store.ledger().apply(&bought("evt_1")).await.unwrap(), [Outcome::Applied]);
    let error = ledger(store.database.url_as(RUNTIME_ROLE).await).refresh("").await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Auth, "the owner's stay the owner's");
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_migrates_and_names_the_role() {
    let database = Database::create(Flavour::Plain).await;
    let (owner, runtime) = (database.url_as("gateway_owner").await, database.url_as(RUNTIME_ROLE).await);
    let name = owner.rsplit_once('/').unwrap().1;
    database
        .run(&format!("ALTER DATABASE {name} OWNER TO gateway_owner; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"))
        .await;
    let unmigrated = ledger(owner.clone()).check().await.unwrap_err();
    assert!(
        unmigrated.kind == LedgerErrorKind::Schema && unmigrated.message.contains("owns the schema"),
        "{unmigrated}"
    );

    let mut connection = connect(&owner).await;
    for (role, words) in [("nobody_here", "CREATE ROLE nobody_here"), ("gateway_owner", "name another")] {
        let error = migrate_to(&mut connection, &named(role)).await.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
    migrate(&mut connection).await.unwrap();
    migrate_to(&mut connection, &named(RUNTIME_ROLE)).await.unwrap();
    let ledger_of = |url: &String| ledger(url.clone());
    ledger_of(&runtime).check().await.unwrap();
    assert_eq!(ledger_of(&runtime).apply(&bought("evt_1")).await.unwrap(), [Outcome::Applied]);
    let excess = ledger_of(&owner).caller().await.unwrap().unwrap().excess().unwrap();
    assert!(excess.contains("owns"), "{excess}");
    database
        .run(&format!(
            "GRANT USAGE ON SCHEMA gateway TO {RUNTIME_ROLE}; GRANT DELETE ON gateway.events TO {RUNTIME_ROLE}"
        ))
        .await;
    let excess = ledger_of(&runtime).caller().await.unwrap().unwrap().excess().unwrap();
    assert!(excess.contains("write"), "{excess}");
    let superuser = ledger(database.url()).caller().await.unwrap().unwrap();
    assert!(superuser.excess().unwrap().contains("superuser"), "{superuser:?}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_who_has_to_act() {
    let database = Database::create(Flavour::Plain).await;
    let url = database.url_as(RUNTIME_ROLE).await;
    let unmigrated = ledger(url.clone()).check().await.unwrap_err();
    assert_eq!(unmigrated.kind, LedgerErrorKind::Schema);
    assert!(unmigrated.message.contains("as the role that owns the schema"), "{unmigrated}");
    let refused = migrate(&mut *connect(&url).await).await.unwrap_err();
    assert!(refused.message.contains("GATEWAY_LEDGER_OWNER_URL"), "{refused}");

    migrate(&mut *database.session().await).await.unwrap();
    let unnamed = ledger(url.clone()).check().await.unwrap_err();
    assert_eq!(unnamed.kind, LedgerErrorKind::Auth);
    assert!(unnamed.message.contains("--runtime-role"), "{unnamed}");
    let refused = migrate(&mut *connect(&url).await).await.unwrap_err();
    assert!(refused.message.contains("GATEWAY_LEDGER_OWNER_URL"), "{refused}");
}

#[tokio::test]
async fn a_rest_layer_calls_as_the_service_role_which_writes_nothing_by_itself() {
    let store = Postgres::rest().await;
    let caller = store.ledger().caller().await.unwrap().unwrap();
    assert_eq!((caller.role.as_str(), caller.excess()), ("service_role", None));
}
