//! The faults of the predecessor, each from the event to what its readers find. Every test here fails on what it did.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports;
use colony_gateway::ledger::{Ledger, Outcome};
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::contract::apply;
use crate::generations::Generation;
use crate::plans::{EPOCH_SECONDS, at};
use crate::postgres::{Database, Flavour};
use crate::readers::{Seen, seen};
use crate::stores::{Postgres, Sqlite, Store, TABLES};

const USER: &str = "00000000-0000-4000-8000-000000000001";

fn validator(now_seconds: i64) -> Validator {
    let clock = Clock::manual(at(now_seconds));
    Validator::new(Settings::default(), Arc::new(Guardian::new(Rules::default())), clock)
}

async fn verdicts(events: &[Value]) -> Vec<Verdict> {
    let bodies: Vec<Bytes> = events.iter().map(|event| Bytes::from(event.to_string())).collect();
    validator(3600).validate(&bodies).await
}

fn event(id: &str, kind: &str, seconds: i64, object: &Value) -> Value {
    json!({
        "id": format!("evt_{id}"), "object": "event", "type": kind, "api_version": "2025-03-31.basil",
        "created": EPOCH_SECONDS + seconds, "livemode": true, "pending_webhooks": 1, "request": null,
        "data": {"object": object}
    })
}

/// A subscription as newer API versions tell it: the period stands on the items only.
fn subscription(id: &str, status: &str, metadata: &Value) -> Value {
    json!({
        "id": id, "object": "subscription", "status": status, "customer": "cus_1", "currency": "cad",
        "created": EPOCH_SECONDS, "livemode": true, "metadata": metadata, "cancel_at_period_end": false,
        "items": {"object": "list", "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 1,
            "current_period_start": EPOCH_SECONDS, "current_period_end": EPOCH_SECONDS + 2_592_000,
            "price": {"id": "price_1", "object": "price", "currency": "cad", "unit_amount": 1999, "product": "prod_1",
                      "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}}
        }]}
    })
}

fn gold() -> Value {
    json!({"userId": USER, "tier": "gold"})
}

fn updated(id: &str, seconds: i64, status: &str) -> Value {
    event(id, "customer.subscription.updated", seconds, &subscription("sub_1", status, &gold()))
}

fn deleted(id: &str, seconds: i64) -> Value {
    event(id, "customer.subscription.deleted", seconds, &subscription("sub_1", "canceled", &gold()))
}

fn checkout(id: &str, seconds: i64) -> Value {
    let session = json!({
        "id": "cs_1", "object": "checkout.session", "mode": "subscription", "status": "complete",
        "payment_status": "paid", "customer": "cus_1", "subscription": "sub_1", "client_reference_id": USER,
        "metadata": gold(), "currency": "cad", "amount_total": 1999, "livemode": true, "created": EPOCH_SECONDS
    });
    event(id, "checkout.session.completed", seconds, &session)
}

struct Site {
    generation: Generation,
    database: Database,
    ledger: PostgresLedger,
}

impl Site {
    async fn of(generation: Generation) -> Self {
        let database = Database::create(Flavour::Supabase).await;
        database.set_time_zone("America/Toronto").await;
        database.run(&generation.tables()).await;
        database.run(&generation.user(USER)).await;
        let pool = database.sessions();
        migrate(&mut *pool.session().await).await.unwrap();
        pool.close().await;
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
        Self { generation, database, ledger }
    }

    async fn apply(&self, events: &[Value]) -> Vec<Outcome> {
        self.ledger.apply(&verdicts(events).await).await.unwrap()
    }

    async fn seen(&self) -> Seen {
        seen(&self.database, self.generation, USER).await
    }
}

#[tokio::test]
async fn fault_1_neither_a_trial_nor_a_late_payment_costs_access() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        for (number, status) in ["trialing", "past_due"].into_iter().enumerate() {
            site.apply(&[updated(&number.to_string(), i64::try_from(number).unwrap(), status)]).await;
            assert_eq!(site.seen().await.profile, Some((true, "gold".to_owned())), "{generation:?} {status}");
        }
    }
}

#[tokio::test]
async fn fault_2_an_event_after_a_partial_failure_repairs_what_is_missing() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        // The predecessor had written its row and died before the profile: "exists, skip" from then on.
        if let Some(row) = generation.row(USER, "sub_1", "active") {
            site.database.run(&row).await;
        }
        site.apply(&[checkout("1", 0), updated("2", 1, "active")]).await;
        let seen = site.seen().await;
        assert_eq!(seen.profile, Some((true, "gold".to_owned())), "{generation:?}");
        let shown = generation.has_platform_rows();
        let expected = (shown.then_some("gold"), usize::from(shown));
        assert_eq!((seen.active.as_deref(), seen.statuses.len()), expected, "{generation:?}");
    }
}

#[tokio::test]
async fn fault_3_public_tables_change_together_or_not_at_all() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[updated("1", 0, "active")]).await;
        let before = site.seen().await;
        site.database
            .run(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
                 CREATE TRIGGER refuse BEFORE UPDATE ON user_profiles FOR EACH ROW EXECUTE FUNCTION refuse()",
            )
            .await;
        assert_eq!(site.apply(&[deleted("2", 1)]).await, [Outcome::Applied], "{generation:?}");
        assert_eq!(site.seen().await, before, "{generation:?}: no table is ahead of another");
        assert_eq!(site.ledger.summary(1).await.unwrap().counts.not_shown, 1, "{generation:?}: and that is visible");
        site.database
            .run("DROP TRIGGER refuse ON user_profiles; UPDATE gateway.user_access SET retry_at = now()")
            .await;
        site.apply(&[event("3", "price.created", 2, &json!({"id": "price_1", "object": "price"}))]).await;
        site.apply(&[updated("4", 2, "active")]).await;
        let after = site.seen().await;
        assert_eq!((after.active, after.profile), (None, Some((false, "free".to_owned()))), "{generation:?}");
    }
}

#[tokio::test]
async fn faults_4_and_5_periods_come_from_the_items_and_are_written_in_utc() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[updated("1", 0, "active")]).await;
        let period = format!(
            "SELECT to_char(current_period_end AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM {}",
            if generation.has_platform_rows() { "subscriptions" } else { "subscription_tiers" }
        );
        let pool = site.database.sessions();
        let end: String = pool.value(period).await.unwrap();
        pool.close().await;
        assert_eq!(end, at(2_592_000).to_string(), "{generation:?}");
    }
}

#[tokio::test]
async fn fault_6_a_subscription_without_metadata_waits_for_its_user_where_it_can_be_seen() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let bare = event("1", "customer.subscription.updated", 1, &subscription("sub_1", "active", &json!({})));
        assert_eq!(site.apply(&[bare]).await, [Outcome::Applied], "{generation:?}");
        assert_eq!(site.ledger.summary(1).await.unwrap().counts.orphans, 1, "{generation:?}");
        site.apply(&[checkout("2", 0)]).await;
        assert_eq!(site.ledger.summary(1).await.unwrap().counts.orphans, 0, "{generation:?}");
        let seen = site.seen().await;
        assert_eq!(seen.active.as_deref(), generation.has_platform_rows().then_some("gold"), "{generation:?}");
        assert_eq!(seen.profile, Some((true, "gold".to_owned())), "{generation:?}");
    }
}

#[tokio::test]
async fn fault_7_an_old_or_repeated_event_brings_nothing_back() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let story = [updated("1", 1, "active"), deleted("2", 5)];
        site.apply(&story).await;
        let after = site.seen().await;
        assert_eq!(site.apply(&story).await, [Outcome::Duplicate, Outcome::Duplicate], "{generation:?}");
        let late = [updated("3", 0, "trialing"), updated("4", 1, "active")];
        assert_eq!(site.apply(&late).await, [Outcome::Stale, Outcome::Stale], "{generation:?}");
        // Not even a later one: what Stripe has deleted does not come back.
        site.apply(&[updated("5", 5, "active"), updated("6", 9, "active")]).await;
        assert_eq!(site.seen().await, after, "{generation:?}");
    }
}

#[tokio::test]
async fn fault_8_who_has_cancelled_is_on_the_tier_free() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("1", 0), updated("2", 1, "active"), deleted("3", 2)]).await;
        let seen = site.seen().await;
        assert_eq!(seen.profile, Some((false, "free".to_owned())), "{generation:?}");
        let ended = if generation.has_platform_rows() { vec!["canceled".to_owned()] } else { vec![] };
        assert_eq!((seen.active, seen.statuses), (None, ended), "{generation:?}");
    }
}

#[tokio::test]
async fn a_story_in_every_api_version_and_any_order_ends_in_the_same_rows_in_every_store() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stripe");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    assert_eq!(files.len(), 6, "{files:?}");
    let (sqlite, postgres) = (Sqlite::new(), Postgres::direct(Flavour::Plain).await);
    let mut random = fastrand::Rng::with_seed(5);
    let rules = Rules::parse("[builtin.event_age]\npast_days = 1000").unwrap();
    let validator = Validator::new(Settings::default(), Arc::new(Guardian::new(rules)), Clock::manual(at(90 * 86_400)));
    for file in files {
        let bodies: Vec<Bytes> =
            std::fs::read_to_string(&file).unwrap().lines().map(|line| Bytes::from(line.to_owned())).collect();
        let verdicts = validator.validate(&bodies).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Apply(_))), "{file:?}");
        let mut expected = None;
        for store in [&sqlite as &dyn Store, &postgres] {
            for _ in 0..8 {
                let mut shuffled = verdicts.clone();
                random.shuffle(&mut shuffled);
                let batches: Vec<Vec<Verdict>> = shuffled.chunks(random.usize(1..9)).map(<[Verdict]>::to_vec).collect();
                store.clear().await;
                apply(store, &batches).await;
                let mut contents = store.contents().await;
                contents.0.retain(|table, _| TABLES.contains(table));
                let net: i64 = store.ledger().summary(400).await.unwrap().daily.iter().map(|day| day.net_minor).sum();
                assert_eq!(net, 2800, "{file:?}: two invoices and a purchase, less a refund and a dispute");
                assert_eq!(*expected.get_or_insert_with(|| contents.clone()), contents, "{file:?}");
            }
        }
    }
}
