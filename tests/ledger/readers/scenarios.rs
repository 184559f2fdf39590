//! The scenarios: what a customer does, as verdicts, and what each generation's readers must then find.

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::projections::{LatePayers, Mode, PublicTable, refresh, set, set_late_payers};
use colony_gateway::ledger::report::Reports;
use colony_gateway::ledger::{Ledger, Outcome};
use colony_gateway::revenue::rows::{BindingKind, ClaimRank, SubscriptionRow};
use colony_gateway::revenue::verdict::Verdict;

use super::{Seen, seen};
use crate::generations::Generation;
use crate::plans::{Planned, at, preference};
use crate::postgres::{Database, Flavour};

const USER: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

struct Site {
    generation: Generation,
    database: Database,
    ledger: PostgresLedger,
}

impl Site {
    /// A site of this generation with two users, migrated.
    async fn of(generation: Generation) -> Self {
        let database = Database::create(Flavour::Supabase).await;
        database.set_time_zone("America/Toronto").await;
        database.run(&generation.tables()).await;
        database.run(&(generation.user(USER) + &generation.user(OTHER))).await;
        let pool = database.sessions();
        migrate(&mut *pool.session().await).await.unwrap();
        pool.close().await;
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
        Self { generation, database, ledger }
    }

    async fn apply(&self, batch: &[Verdict]) {
        let outcomes = self.ledger.apply(batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{outcomes:?}");
    }

    async fn seen(&self, user: &str) -> Seen {
        seen(&self.database, self.generation, user).await
    }

    async fn waiting(&self) -> u64 {
        self.ledger.summary(1).await.unwrap().counts.not_shown
    }

    async fn value(&self, statement: &str) -> String {
        let pool = self.database.sessions();
        let value: Option<String> = pool.value(statement).await.unwrap();
        pool.close().await;
        value.unwrap_or_else(|| "null".to_owned())
    }

    /// What readers see of a user who has `tier` now, or whose last subscription has ended in `status`.
    fn expect(&self, status: &str, tier: Option<&str>) -> Seen {
        let given = (status == "active").then(|| tier.unwrap_or("free").to_owned());
        let latest = given.clone().filter(|_| self.generation.has_tier_rows());
        let profile = Some((tier.is_some(), tier.unwrap_or("free").to_owned()));
        let (active, statuses) = match (self.generation, status) {
            (Generation::Third, _) => (None, vec![]),
            // The CHECK of this generation has no such words.
            (Generation::Fourth, "paused") => (given, vec!["canceled".to_owned()]),
            (Generation::Fourth, "expired") => (given, vec!["incomplete_expired".to_owned()]),
            _ => (given, vec![status.to_owned()]),
        };
        Seen { active, statuses, latest, profile }
    }
}

fn subscribe(event: &str, seconds: i64, id: &str, status: &str, change: impl FnOnce(&mut SubscriptionRow)) -> Verdict {
    Planned::new(event, "customer.subscription.updated", seconds).subscription(id, "cus_1", status, change).verdict()
}

fn checkout(event: &str, seconds: i64) -> Verdict {
    Planned::new(event, "checkout.session.completed", seconds).customer_user("cus_1", USER).verdict()
}

fn tier(name: &'static str) -> impl FnOnce(&mut SubscriptionRow) {
    move |row| {
        row.tier = Some(name.to_owned());
        row.preference = preference(row.entitles, name, &row.id);
    }
}

#[tokio::test]
async fn every_status_of_a_subscription_shows_as_readers_expect() {
    let cases = [
        ("trialing", "active", Some("silver")),
        ("active", "active", Some("silver")),
        // A late payer keeps access, and so does one who is on trial: readers ask for `active`.
        ("past_due", "active", Some("silver")),
        ("unpaid", "past_due", None),
        ("paused", "paused", None),
        ("canceled", "canceled", None),
        ("incomplete_expired", "expired", None),
    ];
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_0", 0)]).await;
        for (number, (status, shown, tier)) in (1_i64..).zip(cases) {
            // Terminal states are never left, so each has a subscription of its own that is preferred to the last.
            let id = format!("sub_{}", number / 6 + number / 7);
            let change = |row: &mut SubscriptionRow| row.preference = format!("{}.{number}", u8::from(row.entitles));
            site.database.run("DELETE FROM gateway.stripe_subscriptions").await;
            site.apply(&[subscribe(&format!("evt_{number}"), number, &id, status, change)]).await;
            assert_eq!(site.seen(USER).await, site.expect(shown, tier), "{generation:?} {status}");
        }
        assert_eq!(site.waiting().await, 0, "{generation:?}");
    }
}

#[tokio::test]
async fn an_incomplete_subscription_is_not_shown() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 0, "sub_1", "incomplete", |_| {})]).await;
        let seen = site.seen(USER).await;
        assert_eq!((seen.active, seen.statuses, seen.latest), (None, vec![], None), "{generation:?}");
        assert!(!seen.profile.unwrap().0, "{generation:?}");
    }
}

#[tokio::test]
async fn whoever_subscribes_again_has_one_active_row() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", tier("bronze"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("bronze")), "{generation:?}");
        site.apply(&[subscribe("evt_3", 2, "sub_1", "canceled", tier("bronze"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("canceled", None), "{generation:?}");
        site.apply(&[subscribe("evt_4", 3, "sub_2", "active", tier("gold"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("gold")), "{generation:?}");
        if generation.has_platform_rows() {
            let id = format!(
                "SELECT stripe_subscription_id FROM subscriptions WHERE user_id = '{USER}' AND status = 'active'"
            );
            assert_eq!(site.value(&id).await, "sub_2", "{generation:?}");
        }
    }
}

#[tokio::test]
async fn of_two_subscriptions_the_better_shows_until_it_ends() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[
            subscribe("evt_1", 1, "sub_1", "active", tier("gold")),
            subscribe("evt_2", 1, "sub_2", "active", tier("bronze")),
            checkout("evt_3", 0),
        ])
        .await;
        let expected = site.expect("active", Some("gold"));
        let seen = site.seen(USER).await;
        assert_eq!((seen.active, seen.statuses, seen.profile), (expected.active, expected.statuses, expected.profile));
        site.apply(&[subscribe("evt_4", 2, "sub_1", "canceled", tier("gold"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("bronze")), "{generation:?}");
        site.apply(&[subscribe("evt_5", 2, "sub_2", "canceled", tier("bronze"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("canceled", None), "{generation:?}");
    }
}

#[tokio::test]
async fn an_upgrade_and_a_tier_that_only_the_checkout_knows_are_shown() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |row| row.tier = None)]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("premium")), "{generation:?}");
        let lent = Planned::new("evt_3", "checkout.session.completed", 1);
        site.apply(&[lent.binding(BindingKind::SubscriptionTier, "sub_1", "bronze").verdict()]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("bronze")), "{generation:?}");
        site.apply(&[subscribe("evt_4", 2, "sub_1", "active", tier("gold"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("gold")), "{generation:?}");
    }
}

#[tokio::test]
async fn a_subscription_that_a_person_gives_to_another_user_moves() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        let released = Planned::new("evt_3", "checkout.session.completed", 9)
            .claim(ClaimRank::OperatorOfCustomer, "cus_1", OTHER)
            .with(|plan| plan.released = true);
        site.apply(&[released.verdict()]).await;
        assert_eq!(site.seen(OTHER).await, site.expect("active", Some("silver")), "{generation:?}");
        let lost = site.seen(USER).await;
        assert_eq!((lost.active, lost.latest), (None, None), "{generation:?}");
        assert_eq!(lost.profile, Some((false, "free".to_owned())), "{generation:?}");
        assert_eq!(site.waiting().await, 0, "{generation:?}");
    }
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_mended_by_the_next_event() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        site.database
            .run(&format!(
                "DELETE FROM subscriptions; UPDATE user_profiles SET is_premium = false, subscription_tier = NULL
                 WHERE id = '{USER}'"
            ))
            .await;
        site.apply(&[subscribe("evt_3", 2, "sub_1", "active", |_| {})]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
        site.database.run("DELETE FROM subscriptions; SELECT gateway.refresh()").await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
    }
}

#[tokio::test]
async fn a_user_who_signs_up_after_paying_waits_visibly_and_is_then_shown() {
    let late = "00000000-0000-4000-8000-000000000009";
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let bound = Planned::new("evt_1", "checkout.session.completed", 0).customer_user("cus_1", late).verdict();
        // One whom the tables cannot take does not keep a neighbour from being shown.
        let neighbour = Planned::new("evt_2", "x", 0)
            .customer_user("cus_2", USER)
            .subscription("sub_2", "cus_2", "active", |_| {})
            .verdict();
        site.apply(&[bound, neighbour, subscribe("evt_3", 1, "sub_1", "active", |_| {})]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
        assert_eq!(site.waiting().await, 1, "{generation:?}");
        let fault = site.value(&format!("SELECT fault FROM gateway.user_access WHERE user_id = '{late}'")).await;
        assert!(!fault.contains(late) && fault != "null", "{fault}");
        // When its time has come, the next batch of anybody tries again; without one, the upkeep does.
        site.database.run(&generation.user(late)).await;
        site.database
            .run("UPDATE gateway.user_access SET retry_at = now() - interval '1 second' WHERE NOT shown")
            .await;
        if generation == Generation::First {
            site.apply(&[Planned::new("evt_4", "price.created", 0).verdict()]).await;
        } else {
            site.ledger.upkeep().await.unwrap();
        }
        assert_eq!(site.seen(late).await, site.expect("active", Some("silver")), "{generation:?}");
        assert_eq!(site.waiting().await, 0, "{generation:?}");
    }
}

#[tokio::test]
async fn a_user_id_that_is_no_uuid_waits_visibly_and_fails_nobody() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let odd = Planned::new("evt_1", "x", 0)
            .customer_user("cus_1", "user_2fOo'; DROP TABLE subscriptions; --")
            .subscription("sub_1", "cus_1", "active", |_| {})
            .verdict();
        let neighbour = Planned::new("evt_2", "x", 0)
            .customer_user("cus_2", USER)
            .subscription("sub_2", "cus_2", "active", |_| {})
            .verdict();
        site.apply(&[odd, neighbour]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
        assert_eq!(site.waiting().await, 1, "{generation:?}");
    }
}

#[tokio::test]
async fn a_trigger_that_refuses_and_a_locked_table_do_not_hold_the_truth_back() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.database
            .run(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not today, %', NEW.id; END $$;
                 CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON user_profiles
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
            )
            .await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        assert_eq!(site.waiting().await, 1, "{generation:?}");
        let lines = site.ledger.subscriptions(1).await.unwrap();
        assert_eq!(lines[0].user_id.as_deref(), Some(USER), "{generation:?}");
        site.database.run("DROP TRIGGER refuse ON user_profiles").await;

        let pool = site.database.sessions();
        let mut holder = pool.begin().await.unwrap();
        holder.execute("LOCK TABLE public.user_profiles").await.unwrap();
        site.apply(&[subscribe("evt_3", 2, "sub_1", "active", tier("gold"))]).await;
        assert_eq!(site.ledger.subscriptions(1).await.unwrap()[0].tier.as_deref(), Some("gold"));
        holder.rollback().await.unwrap();
        site.apply(&[subscribe("evt_4", 3, "sub_1", "active", tier("gold"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("gold")), "{generation:?}");
    }
}

#[tokio::test]
async fn a_creators_subscribers_keep_their_rows_and_counters() {
    for generation in [Generation::First, Generation::Third] {
        let site = Site::of(generation).await;
        site.database
            .run(&format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ('{USER}', '{OTHER}', 'active', 'sub_creator')"
            ))
            .await;
        // The creator's subscription also comes by webhook; it gives no access to the platform.
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_creator", "active", |_| {})]).await;
        let seen = site.seen(USER).await;
        assert_eq!((seen.active, seen.statuses), (None, vec![]), "{generation:?}");
        assert!(!seen.profile.unwrap().0, "{generation:?}");
        site.apply(&[subscribe("evt_3", 1, "sub_1", "active", |_| {})]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
        let fans = site
            .value(&format!(
                "SELECT string_agg(status || ' ' || stripe_subscription_id, ', ') FROM subscriptions
                 WHERE creator_id = '{OTHER}'"
            ))
            .await;
        assert_eq!(fans, "active sub_creator", "{generation:?}");
    }
}

#[tokio::test]
async fn the_catalogue_gets_one_row_a_tier_and_its_counters_are_kept() {
    let site = Site::of(Generation::First).await;
    site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
    let other =
        Planned::new("evt_3", "x", 1).customer_user("cus_2", OTHER).subscription("sub_2", "cus_2", "active", |_| {});
    site.apply(&[other.verdict()]).await;
    let row = "SELECT string_agg(name || ' ' || name_fr || ' ' || price || ' ' || subscriber_count, ', ')
               FROM subscription_tiers";
    assert_eq!(site.value(row).await, "silver Argent 9.99 2");
    site.apply(&[subscribe("evt_4", 2, "sub_1", "canceled", |_| {})]).await;
    assert_eq!(site.value(row).await, "silver Argent 9.99 1");
}

#[tokio::test]
async fn users_read_their_own_rows_and_write_none_of_the_platforms() {
    for generation in [Generation::First] {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "canceled", |_| {})]).await;
        assert_eq!(site.seen(OTHER).await.statuses, Vec::<String>::new(), "{generation:?}");
        let own = format!("(SELECT count(*) FROM subscriptions WHERE user_id = '{USER}')");
        let pool = site.database.sessions();
        let tries = [
            format!("UPDATE subscriptions SET status = 'active' WHERE user_id = '{USER}' RETURNING status"),
            format!("DELETE FROM subscriptions WHERE user_id = '{USER}' RETURNING status"),
            format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status) VALUES ('{OTHER}', '{OTHER}', 'active')
                 RETURNING status"
            ),
            format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, user_id, status)
                 VALUES ('{OTHER}', '{USER}', '{OTHER}', 'active') RETURNING status"
            ),
        ];
        for attempt in tries {
            for user in [USER, OTHER] {
                let mut transaction = pool.begin().await.unwrap();
                transaction
                    .execute(format!("SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claim.sub = '{user}'"))
                    .await
                    .unwrap();
                let done = transaction.rows(attempt.clone()).await;
                assert!(done.is_err() || done.is_ok_and(|rows| rows.is_empty()), "{generation:?} {user}: {attempt}");
            }
        }
        assert_eq!(site.value(&format!("SELECT {own}::text")).await, "1", "{generation:?}");
    }
}

#[tokio::test]
async fn a_projection_that_is_off_writes_nothing_and_one_that_is_on_without_its_table_says_so() {
    let site = Site::of(Generation::Third).await;
    let mut connection = site.database.session().await;
    for projection in PublicTable::ALL {
        set(&mut connection, projection, Mode::Off).await.unwrap();
    }
    site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
    let seen = site.seen(USER).await;
    assert_eq!((seen.active, seen.latest, seen.profile), (None, None, Some((false, "free".to_owned()))));
    for projection in PublicTable::ALL {
        set(&mut connection, projection, Mode::On).await.unwrap();
    }
    assert_eq!(refresh(&mut connection).await.unwrap(), 1);
    // Whoever switches it on has platform rows in a table of fans, too.
    let (active, statuses) = (Some("active".to_owned()), vec!["active".to_owned()]);
    assert_eq!(site.seen(USER).await, Seen { active, statuses, ..site.expect("active", Some("silver")) });

    let site = Site::of(Generation::First).await;
    let mut connection = site.database.session().await;
    set(&mut connection, PublicTable::SubscriptionTiers, Mode::On).await.unwrap();
    site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
    let fault = site.value("SELECT fault FROM gateway.user_access").await;
    assert!(fault.contains("projection subscription_tiers is on"), "{fault}");
}

#[tokio::test]
async fn times_are_written_in_utc_whatever_the_databases_time_zone_is() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        let question = format!(
            "SELECT to_char(current_period_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM {}",
            if generation.has_platform_rows() { "subscriptions" } else { "subscription_tiers" }
        );
        assert_eq!(site.value(&question).await, at(0).to_string(), "{generation:?}");
    }
}

#[tokio::test]
async fn late_payers_are_told_apart_where_that_is_set() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "past_due", |_| {})]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("silver")), "{generation:?}");
        let mut connection = site.database.session().await;
        set_late_payers(&mut connection, LatePayers::PastDue).await.unwrap();
        refresh(&mut connection).await.unwrap();
        assert_eq!(site.seen(USER).await, site.expect("past_due", Some("silver")), "{generation:?}");
        // What Stripe says stands in the truth all the while.
        let raw = site.value("SELECT status FROM gateway.subscription_access WHERE id = 'sub_1'").await;
        assert_eq!(raw, "past_due", "{generation:?}");
    }
}

#[tokio::test]
async fn rows_of_the_fourth_generation_are_adopted_and_only_the_best_is_active() {
    let site = Site::of(Generation::Fourth).await;
    let old = ["sub_1", "sub_2", "sub_gone"].map(|id| Generation::Fourth.row(USER, id, "active").unwrap());
    site.database.run(&old.concat()).await;
    site.apply(&[
        checkout("evt_1", 0),
        subscribe("evt_2", 1, "sub_1", "active", tier("bronze")),
        subscribe("evt_3", 1, "sub_2", "active", tier("gold")),
    ])
    .await;
    let rows = "SELECT string_agg(stripe_subscription_id || ' ' || status, ', ' ORDER BY 1) FROM subscriptions";
    let rows = rows.replace("ORDER BY 1", "ORDER BY stripe_subscription_id");
    assert_eq!(site.value(&rows).await, "sub_1 canceled, sub_2 active, sub_gone canceled");
    assert_eq!(site.seen(USER).await, site.expect("active", Some("gold")));
    assert_eq!(site.waiting().await, 0);
    // The better ends, and the other takes its place in the row that it had.
    site.apply(&[subscribe("evt_4", 2, "sub_2", "canceled", tier("gold"))]).await;
    assert_eq!(site.value(&rows).await, "sub_1 active, sub_2 canceled, sub_gone canceled");
    // A row in which another user's id stands gives it back.
    site.apply(&[Planned::new("evt_5", "x", 9).claim(ClaimRank::Operator, "sub_1", OTHER).verdict()]).await;
    assert_eq!(site.seen(OTHER).await, site.expect("active", Some("bronze")));
    assert_eq!(site.seen(USER).await.active, None);
    assert_eq!(site.waiting().await, 0);
}

#[tokio::test]
async fn a_row_of_another_with_a_users_stripe_id_takes_nothing_from_the_user() {
    for generation in [Generation::First, Generation::Third] {
        let site = Site::of(generation).await;
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        let forged = |id: &str| {
            format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ('{OTHER}', '{USER}', 'active', {id}) RETURNING status"
            )
        };
        let pool = site.database.sessions();
        let as_other = format!("SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claim.sub = '{OTHER}'");
        for (statement, may) in [
            (forged("NULL"), true),
            (forged("'sub_9'"), false),
            (
                format!("UPDATE subscriptions SET stripe_subscription_id = 'sub_1' WHERE subscriber_id = '{OTHER}'"),
                false,
            ),
        ] {
            let mut transaction = pool.begin().await.unwrap();
            transaction.execute(as_other.clone()).await.unwrap();
            let done = transaction.execute(statement.clone()).await;
            assert_eq!(done.is_ok(), may, "{generation:?}: {statement}: {done:?}");
            if may {
                transaction.commit().await.unwrap();
            }
        }
        // What stood there before the guards came says nothing either: it is another's word about this user.
        let unique = generation == Generation::First;
        let released = if unique { "UPDATE subscriptions SET stripe_subscription_id = NULL;" } else { "" };
        site.database
            .run(&format!(
                "{released} UPDATE subscriptions SET stripe_subscription_id = 'sub_1' WHERE subscriber_id = '{OTHER}'"
            ))
            .await;
        site.apply(&[subscribe("evt_3", 2, "sub_1", "active", tier("gold"))]).await;
        assert_eq!(site.seen(USER).await, site.expect("active", Some("gold")), "{generation:?}");
        assert_eq!(site.waiting().await, 0, "{generation:?}");
    }
}

#[tokio::test]
async fn fan_rows_that_users_could_write_before_the_guards_are_no_evidence() {
    for (policy, stays) in [
        ("CREATE POLICY insert_own ON subscriptions FOR INSERT WITH CHECK (auth.uid() = subscriber_id)", true),
        ("SELECT 1", false),
    ] {
        let database = Database::create(Flavour::Supabase).await;
        database.run(&Generation::First.tables()).await;
        database.run(&(Generation::First.user(USER) + &Generation::First.user(OTHER))).await;
        database.run(&format!("DROP POLICY anyone_does_anything ON subscriptions; {policy}")).await;
        database
            .run(&format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ('{USER}', '{OTHER}', 'active', 'sub_1')"
            ))
            .await;
        let pool = database.sessions();
        migrate(&mut *pool.session().await).await.unwrap();
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
        let site = Site { generation: Generation::First, database, ledger };
        site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", |_| {})]).await;
        assert_eq!(site.seen(USER).await.active.is_some(), stays, "{policy}");
    }
}

#[tokio::test]
async fn a_column_that_a_check_refuses_holds_back_neither_the_user_nor_the_neighbours() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        site.database
            .run(
                "ALTER TABLE user_profiles ADD CONSTRAINT known
                 CHECK (subscription_tier IN ('free', 'bronze', 'silver', 'gold'))",
            )
            .await;
        let odd = subscribe("evt_2", 1, "sub_1", "active", tier("platinum"));
        let neighbour = Planned::new("evt_3", "x", 0)
            .customer_user("cus_2", OTHER)
            .subscription("sub_2", "cus_2", "active", |_| {})
            .verdict();
        site.apply(&[checkout("evt_1", 0), odd, neighbour]).await;
        assert_eq!(site.seen(OTHER).await, site.expect("active", Some("silver")), "{generation:?}");
        let seen = site.seen(USER).await;
        assert!(seen.profile.as_ref().unwrap().0, "{generation:?}: premium, whatever the tier is called");
        assert_eq!(seen.active.is_some(), generation.has_platform_rows(), "{generation:?}");
        assert_eq!(site.waiting().await, 1, "{generation:?}");
        let fault = site.value("SELECT fault FROM gateway.user_access WHERE NOT shown").await;
        assert!(fault.contains("public.user_profiles refuses the new subscription_tier"), "{fault}");
    }
}

#[tokio::test]
async fn counters_of_the_catalogue_follow_a_change_of_the_tier() {
    let site = Site::of(Generation::First).await;
    site.database.run(&Generation::First.row(USER, "sub_1", "active").unwrap()).await;
    let counters = "SELECT string_agg(name || ' ' || subscriber_count, ', ' ORDER BY name)
                        || (SELECT '; ' || total_subscribers FROM users u WHERE u.id = '00000000-0000-4000-8000-000000000001')
                    FROM subscription_tiers";
    site.apply(&[checkout("evt_1", 0), subscribe("evt_2", 1, "sub_1", "active", tier("silver"))]).await;
    assert_eq!(site.value(counters).await, "silver 1; 1", "a row that was there is adopted");
    site.apply(&[subscribe("evt_3", 2, "sub_1", "active", tier("gold"))]).await;
    assert_eq!(site.value(counters).await, "gold 1, silver 0; 1");
    site.apply(&[subscribe("evt_4", 3, "sub_1", "canceled", tier("gold"))]).await;
    assert_eq!(site.value(counters).await, "gold 0, silver 0; 0");
}
