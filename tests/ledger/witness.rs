//! The ledger's word, on every store: which ledger it is, and what it has recorded of events.

use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::outcome::OutcomeName;
use colony_gateway::ledger::audit::AUDIT_IDS_MAX;
use colony_gateway::ledger::{LedgerErrorKind, Outcome};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, event};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

async fn says_what_it_knows(store: &dyn Store) {
    let witness = store.ledger();
    let held = Verdict::Quarantine {
        event: event("evt_held", "customer.created", 0),
        rule: "mode".to_owned(),
        reason: "a test event".to_owned(),
        decisions: Vec::new(),
    };
    let applied = Planned::new("evt_applied", "customer.created", 0).customer("cus_1", false).verdict();
    store.ledger().apply(&[held, applied]).await.unwrap();

    let mut asked: Vec<String> =
        ["evt_held", "evt_applied", "evt_never", "it's $gateway$", ""].map(str::to_owned).into();
    let mut said = witness.witness(&asked).await.unwrap();
    said.events.sort_by(|one, other| one.id.cmp(&other.id));
    let events: Vec<_> = said.events.iter().map(|known| (known.id.as_str(), known.outcome)).collect();
    assert_eq!(events, [("evt_applied", OutcomeName::Applied), ("evt_held", OutcomeName::Quarantined)]);
    let (rule, reason) = (said.events[1].rule.as_deref(), said.events[1].reason.as_deref());
    assert_eq!((rule, reason), (Some("mode"), Some("a test event")));

    let nothing = witness.witness(&[]).await.unwrap();
    assert_eq!((&nothing.ledger, nothing.events.len()), (&said.ledger, 0), "the identity stays");

    asked.splice(0..0, (0..AUDIT_IDS_MAX).map(|number| format!("evt_other_{number}")));
    assert!(witness.witness(&asked).await.unwrap().events.is_empty(), "no more are asked for than may be");
}

/// A batch reaches the ledger that it is meant for, and nothing of it another one.
async fn takes_only_what_is_meant_for_it(store: &dyn Store) {
    let ledger = store.ledger();
    let ours = ledger.witness(&[]).await.unwrap().ledger;
    let batch = [Planned::new("evt_meant", "customer.created", 0).customer("cus_1", false).verdict()];
    let error = ledger.apply_for(Some(&LedgerId::draw().unwrap()), &batch).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::OtherLedger, "{error}");
    assert!(ledger.witness(&["evt_meant".to_owned()]).await.unwrap().events.is_empty());
    assert_eq!(ledger.apply_for(Some(&ours), &batch).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn every_store_takes_only_what_is_meant_for_it() {
    takes_only_what_is_meant_for_it(&Sqlite::new()).await;
    takes_only_what_is_meant_for_it(&Postgres::direct(Flavour::Plain).await).await;
    takes_only_what_is_meant_for_it(&Postgres::rest().await).await;
}

#[tokio::test]
async fn sqlite_says_what_it_knows_and_keeps_its_identity() {
    let store = Sqlite::new();
    says_what_it_knows(&store).await;
    let other = Sqlite::new();
    let identities = [store.ledger().witness(&[]).await.unwrap(), other.ledger().witness(&[]).await.unwrap()];
    assert_ne!(identities[0].ledger, identities[1].ledger);
}

#[tokio::test]
async fn postgres_says_what_it_knows_over_both_transports() {
    let direct = Postgres::direct(Flavour::Plain).await;
    says_what_it_knows(&direct).await;
    let rest = Postgres::rest().await;
    says_what_it_knows(&rest).await;
    let identities = [direct.ledger().witness(&[]).await.unwrap(), rest.ledger().witness(&[]).await.unwrap()];
    assert_ne!(identities[0].ledger, identities[1].ledger, "each database has its own");
}
