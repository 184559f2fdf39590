//! What the page of one event tells of the ledger.

use std::time::Duration;

use colony_gateway::domain::ids::EntryId;
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::person::Subject;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::json;
use testkit::plans::Planned;

use crate::tables::USER;
use crate::world::{BEN, World};

/// Stores the event of a subscription `sub_1` of `cus_1`.
async fn store(world: &World, id: &str) -> EntryId {
    let event = json!({"id": id, "object": "event", "type": "customer.subscription.updated", "livemode": true,
        "created": 1_767_323_045, "api_version": "2025-03-31.basil", "data": {"object": {
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active"}}});
    world.store(&event, None).await
}

/// Applies an event of `sub_1`, of that second.
async fn apply(world: &World, id: &str, second: i64, change: impl FnOnce(Planned) -> Planned) -> Outcome {
    let planned = Planned::new(id, "customer.subscription.updated", second)
        .subscription("sub_1", "cus_1", "active", |_| {})
        .subscription_user("sub_1", "user_of_ada")
        .with(|plan| plan.event.object_id = Some("sub_1".to_owned()));
    let outcomes = world.control.ledger.apply(&[change(planned).verdict()]).await.unwrap();
    outcomes.into_iter().next().unwrap()
}

/// The page of an entry as a viewer sees it, and the part of it that renews itself.
pub(crate) async fn seen(world: &World, entry: EntryId) -> String {
    let ben = world.login(BEN).await;
    let path = format!("/console/entries/{entry}");
    let page = world.page(&ben, &path).await.text;
    let part = world.page(&ben, &format!("{path}?live=0")).await.text;
    let told =
        |text: &str| text[text.find("What the ledger has").unwrap()..].split("</div>").next().unwrap().to_owned();
    let part = told(&part);
    assert_eq!(told(&page), part, "the part that renews itself says the same");
    for user in ["user_of_ada", USER] {
        assert!(!page.contains(user), "a user is named: {page}");
    }
    part
}

#[tokio::test]
async fn the_page_of_an_event_tells_what_stands_of_it_and_what_users_have_of_it() {
    let world = World::new();
    let (newer, older) = (store(&world, "evt_newer").await, store(&world, "evt_older").await);
    let before = seen(&world, newer).await;
    assert!(
        before.contains("still on its way") && before.contains("no subscription that the ledger knows"),
        "{before}"
    );

    assert_eq!(apply(&world, "evt_newer", 2, |planned| planned).await, Outcome::Applied);
    assert_eq!(apply(&world, "evt_older", 1, |planned| planned).await, Outcome::Stale);
    let newer = seen(&world, newer).await;
    assert!(newer.contains("Recorded: applied") && newer.contains("<b>this event</b>"), "{newer}");
    assert!(newer.contains("gives the tier silver"), "{newer}");
    let older = seen(&world, older).await;
    assert!(older.contains("Recorded: stale") && older.contains("a newer event,"), "{older}");
    assert!(older.contains(r#"href="/console/search?q=evt_newer""#), "{older}");
}

#[tokio::test]
async fn what_a_rule_holds_is_told_with_what_it_keeps_from_users() {
    let world = World::new();
    let entry = store(&world, "evt_held").await;
    let outcome = apply(&world, "evt_held", 1, Planned::suspect).await;
    assert!(matches!(outcome, Outcome::Quarantined { .. }), "{outcome:?}");
    let held = seen(&world, entry).await;
    assert!(held.contains("Recorded: quarantined") && held.contains("rule large: a large one"), "{held}");
    assert!(
        held.contains("A rule holds the event that would give access.") && held.contains("inbox release"),
        "{held}"
    );
    let event = testkit::plans::event("evt_held", "customer.subscription.updated", 1);
    let drop = Verdict::Drop { event, reason: "a test".to_owned() };
    world.control.ledger.apply(&[drop]).await.unwrap();
    let dropped = seen(&world, entry).await;
    assert!(dropped.contains("Recorded: dropped") && dropped.contains("and a person dropped it."), "{dropped}");
    assert!(dropped.contains("<b>this event</b>") && !dropped.contains("inbox release"), "{dropped}");
}

#[tokio::test]
async fn an_erased_event_bytes_that_are_none_and_a_failing_ledger_have_sentences_of_their_own() {
    let world = World::new();
    let entry = store(&world, "evt_1").await;
    apply(&world, "evt_1", 1, |planned| planned).await;
    let ledger = &world.control.ledger;
    let found = ledger.find_person(&Subject::user("user_of_ada").unwrap()).await.unwrap();
    ledger.erase_events(&found.person, "", false).await.unwrap();
    let erased = seen(&world, entry).await;
    assert!(erased.contains("was erased on request") && erased.contains("Recorded: applied"), "{erased}");

    let malformed = world.store(&json!("no event"), None).await;
    let malformed = seen(&world, malformed).await;
    assert!(malformed.contains("These bytes are no event"), "{malformed}");
    let thin = json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.customer.updated", "livemode": false,
        "created": "2026-01-02T03:04:05Z", "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}});
    let thin = world.store(&thin, None).await;
    assert!(seen(&world, thin).await.contains("It named its object alone"), "a thin event");

    let file = rusqlite::Connection::open(world.directory.path().join("ledger.db")).unwrap();
    file.execute_batch("ALTER TABLE guardian_decisions RENAME TO elsewhere").unwrap();
    let failed = seen(&world, entry).await;
    assert!(failed.contains("answered with an error") && failed.contains("is not known now"), "{failed}");
    assert!(!failed.contains("Recorded") && !failed.contains("has not recorded"), "{failed}");
}

#[tokio::test]
async fn a_page_that_stays_open_does_not_read_the_body_again_and_notices_in_time_that_it_was_removed() {
    const GONE: &str = "Retention has removed the body";
    let world = World::new();
    let entry = store(&world, "evt_1").await;
    let ben = world.login(BEN).await;
    let (page, part) = (format!("/console/entries/{entry}"), format!("/console/entries/{entry}?live=0"));
    assert!(!world.page(&ben, &page).await.text.contains(GONE));
    let file = rusqlite::Connection::open(world.directory.path().join("inbox.db")).unwrap();
    assert_eq!(file.execute("DELETE FROM bodies", []).unwrap(), 1);
    assert!(!world.page(&ben, &part).await.text.contains(GONE), "it is known from when the page was opened");
    world.clock.advance(Duration::from_mins(10));
    assert!(world.page(&ben, &part).await.text.contains(GONE));

    let told = seen(&world, entry).await;
    assert!(told.contains(GONE) && told.contains("still on its way"), "{told}");
    let page = world.page(&ben, &page).await.text;
    assert!(page.contains("<h2>Body</h2>\n<p class=\"empty\">Retention has removed the body.</p>"), "{page}");
}
