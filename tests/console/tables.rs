//! What the page of one event tells where the ledger is a database with public tables, which others can lock.

use std::sync::Arc;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use serde_json::json;
use testkit::generations::Generation;
use testkit::plans::Planned;
use testkit::postgres::{Database, Flavour};

use crate::event::seen;
use crate::world::World;

/// A user as the public tables know users.
pub(crate) const USER: &str = "00000000-0000-4000-8000-000000000001";

/// Over a database whose public tables take users with a profile and an id of the type UUID.
async fn world() -> (World, Database) {
    let database = Database::create(Flavour::Supabase).await;
    database.run(&Generation::Fourth.tables()).await;
    let pool = database.sessions();
    migrate(&mut *pool.session().await).await.unwrap();
    pool.close().await;
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    (World::on(Arc::new(ledger)), database)
}

/// What the page tells of an event of `sub_1`, applied as that of this user.
async fn told(world: &World, id: &str, second: i64, user: &str) -> String {
    let event = json!({"id": id, "object": "event", "type": "customer.subscription.updated", "livemode": true,
        "created": 1_767_323_045, "api_version": "2025-03-31.basil", "data": {"object": {
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active"}}});
    let entry = world.store(&event, None).await;
    let planned = Planned::new(id, "customer.subscription.updated", second)
        .subscription("sub_1", "cus_1", "active", |_| {})
        .subscription_user("sub_1", user);
    assert_eq!(world.control.ledger.apply(&[planned.verdict()]).await.unwrap(), [Outcome::Applied]);
    seen(world, entry).await
}

#[tokio::test]
async fn a_user_whom_the_public_tables_cannot_take_do_not_take_or_show_is_told_as_that() {
    let (world, database) = world().await;
    let unfit = told(&world, "evt_1", 1, "user_of_ada").await;
    assert!(unfit.contains("The user&#39;s id does not fit the columns of the public tables."), "{unfit}");
    assert!(unfit.contains("✕") && !unfit.contains("●"), "{unfit}");
    let unknown = told(&world, "evt_2", 2, USER).await;
    assert!(unknown.contains("The public tables do not take what its user has"), "{unknown}");
    database.run(&Generation::Fourth.user(USER)).await;
    let shown = told(&world, "evt_3", 3, USER).await;
    assert!(shown.contains("The public tables show it.") && shown.contains("●"), "{shown}");

    world.control.ledger.set_shadow(true).await.unwrap();
    let ben = world.login(crate::world::BEN).await;
    let shadow = world.page(&ben, "/console/entries/3").await.text;
    assert!(shadow.contains("Shadow mode is on: the public tables are not written."), "{shadow}");
    assert!(!shadow.contains("The public tables show it."), "{shadow}");
}

#[tokio::test]
async fn a_ledger_that_gives_no_answer_in_time_is_told_as_that_beside_all_that_the_inbox_has() {
    let (world, database) = world().await;
    told(&world, "evt_1", 1, USER).await;
    let mut session = database.session().await;
    session.execute("BEGIN; LOCK TABLE gateway.events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let ben = world.login(crate::world::BEN).await;
    let silent = world.page(&ben, "/console/entries/1").await.text;
    assert!(
        silent.contains("The ledger gave no answer in time.") && silent.contains("Received and durable"),
        "{silent}"
    );
    assert!(!silent.contains("Recorded") && !silent.contains("has not recorded"), "{silent}");
    session.execute("ROLLBACK").await.unwrap();
    let again = world.page(&ben, "/console/entries/1").await.text;
    assert!(again.contains("Recorded: applied"), "{again}");
}
