//! Taking over from the predecessor and back, on each generation of its tables: what the public tables say afterwards.

mod roles;
mod stories;

use std::fmt::Write as _;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::Ledger as _;
use colony_gateway::ledger::migrations::migrate_in_shadow;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::{Reports as _, StateOfRecord};
use colony_gateway::ledger::shadow::Shadow as _;
use colony_gateway::revenue::verdict::Verdict;

use crate::generations::Generation;
use crate::plans::{Planned, preference};
use crate::postgres::{Database, Flavour};

fn user(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Subscription `number` of user `number`, whom its metadata names.
fn told(event: &str, seconds: i64, number: u32, status: &str, tier: &str) -> Verdict {
    let id = format!("sub_{number}");
    Planned::new(event, "customer.subscription.updated", seconds)
        .subscription_user(&id, &user(number))
        .subscription(&id, &format!("cus_{number}"), status, |row| {
            row.tier = Some(tier.to_owned());
            row.preference = preference(row.entitles, tier, &row.id);
        })
        .verdict()
}

/// What the predecessor wrote, by its own rules: user 1 as it should be but for a word of its own, 2 late and without access, 3
/// never written, 4 as it should be.
fn written(generation: Generation) -> String {
    let mut script: String = (1..=6).map(|number| generation.user(&user(number))).collect();
    for (number, status) in [(1, "active"), (2, "canceled"), (4, "active")] {
        let (user, id) = (user(number), format!("sub_{number}"));
        script += &generation.row(&user, &id, status).unwrap_or_default();
        if generation.has_tier_rows() {
            let status = if status == "canceled" { "cancelled" } else { status };
            write!(
                script,
                "INSERT INTO subscription_tiers (stripe_subscription_id, user_id, tier_name, status,
                     current_period_start, current_period_end)
                 VALUES ('{id}', '{user}', 'silver', '{status}', now(), now() + interval '20 days');"
            )
            .unwrap();
        }
    }
    let (one, four) = (user(1), user(4));
    script
        + &format!(
            "UPDATE user_profiles SET is_premium = true, subscription_tier = 'creator' WHERE id = '{one}';
             UPDATE user_profiles SET is_premium = true, subscription_tier = 'silver' WHERE id = '{four}';"
        )
}

struct Site {
    generation: Generation,
    database: Database,
}

impl Site {
    /// A database of this generation with what the predecessor wrote, in shadow mode.
    async fn of(generation: Generation) -> Self {
        let database = Database::create(Flavour::Supabase).await;
        database.run(&generation.tables()).await;
        database.run(&written(generation)).await;
        let pool = database.sessions();
        migrate_in_shadow(&mut *pool.session().await).await.unwrap();
        pool.close().await;
        Self { generation, database }
    }

    fn ledger(&self, shadow: bool) -> PostgresLedger {
        let config = PostgresConfig { shadow, ..PostgresConfig::new(Secret::new(self.database.url())) };
        PostgresLedger::new(&config).unwrap()
    }

    /// What the public tables say of access: no ids of rows, no times, no customers, nothing that was not there at first.
    async fn says(&self) -> Vec<String> {
        let tables = ["subscriptions", "subscription_tiers", "user_profiles", "users"];
        let mut said = Vec::new();
        let pool = self.database.sessions();
        for table in tables {
            let there: bool = pool.value(format!("SELECT to_regclass('public.{table}') IS NOT NULL")).await.unwrap();
            if there {
                let question = format!(
                    "SELECT '{table} ' || (to_jsonb(t) - ARRAY['created_at', 'updated_at', 'current_period_start',
                         'current_period_end', 'canceled_at', 'stripe_customer_id', 'username', 'tier']
                         - CASE WHEN '{table}' = 'subscriptions' AND to_jsonb(t) ? 'creator_id'
                             THEN ARRAY['id', 'user_id'] WHEN '{table}' LIKE 'subscription%' THEN ARRAY['id']
                             ELSE ARRAY['username'] END)::text
                     FROM public.{table} t ORDER BY 1"
                );
                said.extend(pool.values::<String>(question).await.unwrap());
            }
        }
        pool.close().await;
        said
    }

    /// The status of a user's own subscription and the flag of the profile, as readers find them.
    async fn access(&self, number: u32) -> (bool, bool) {
        let (user, id) = (user(number), format!("sub_{number}"));
        let table = if self.generation.has_tier_rows() { "subscription_tiers" } else { "subscriptions" };
        let question = format!(
            "SELECT EXISTS (SELECT FROM public.{table} WHERE stripe_subscription_id = '{id}' AND status = 'active'),
                    (SELECT is_premium FROM public.user_profiles WHERE id = '{user}')"
        );
        let pool = self.database.sessions();
        let found = pool.tuple(question).await.unwrap();
        pool.close().await;
        found
    }
}

async fn take_over(ledger: &dyn StateOfRecord) {
    colony_gateway::app::shadow::end(ledger, |_| {}).await.unwrap();
}

#[tokio::test]
async fn the_way_back_restores_what_was_replaced_and_a_second_takeover_finds_it() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let before = site.says().await;
        let (shadow, live) = (site.ledger(true), site.ledger(false));
        let story = [
            told("evt_1", 1, 1, "active", "gold"),
            told("evt_2", 1, 2, "past_due", "silver"),
            told("evt_3", 1, 3, "trialing", "bronze"),
            told("evt_4", 1, 4, "active", "silver"),
        ];
        shadow.apply(&story).await.unwrap();
        take_over(&shadow).await;
        for number in 1..=4 {
            assert_eq!(site.access(number).await, (true, true), "{generation:?} {number} after the takeover");
        }
        let back = live.set_shadow(true).await.unwrap().given_back.unwrap();
        assert_eq!(back.kept, 0, "{generation:?}: {back:?}");
        assert_eq!(site.says().await, before, "{generation:?}: {back:?}");

        // Nothing is given back twice, and the second takeover is like the first.
        assert_eq!(live.set_shadow(true).await.unwrap().given_back, None);
        take_over(&shadow).await;
        for number in 1..=4 {
            assert_eq!(site.access(number).await, (true, true), "{generation:?} {number} after the second takeover");
        }

        // In shadow mode no call goes on for users whom the app's tables could not take.
        live.set_shadow(true).await.unwrap();
        site.database.run("UPDATE gateway.user_access SET shown = false, retry_at = now() - interval '1 second'").await;
        assert!(!shadow.upkeep().await.unwrap(), "{generation:?}");
    }
}

#[tokio::test]
async fn who_has_changed_since_the_takeover_keeps_what_they_have_and_is_named() {
    for generation in Generation::ALL {
        let site = Site::of(generation).await;
        let (shadow, live) = (site.ledger(true), site.ledger(false));
        let story = [told("evt_1", 1, 1, "active", "gold"), told("evt_2", 1, 4, "active", "silver")];
        shadow.apply(&story).await.unwrap();
        take_over(&shadow).await;
        let hour = [told("evt_3", 9, 4, "canceled", "silver"), told("evt_4", 9, 5, "active", "bronze")];
        live.apply(&hour).await.unwrap();
        assert_eq!((site.access(4).await, site.access(5).await), ((false, false), (true, true)), "{generation:?}");
        let back = live.set_shadow(true).await.unwrap().given_back.unwrap();
        assert_eq!(back.kept_users, [user(4), user(5)], "{generation:?}");
        assert_eq!((site.access(4).await, site.access(5).await), ((false, false), (true, true)), "{generation:?}");
        assert_eq!(site.access(1).await, (true, true), "{generation:?}");
        let word: String = site
            .database
            .sessions()
            .value(format!("SELECT subscription_tier::text FROM user_profiles WHERE id = '{}'", user(1)))
            .await
            .unwrap();
        assert_eq!(word, "creator", "{generation:?}: what was replaced in place");
    }
}

#[tokio::test]
async fn a_profile_that_the_predecessor_never_wrote_says_nothing_of_a_purchase_after_the_way_back() {
    // Its code writes rows of tiers alone: a flag that stayed would outlive the cancellation that it handles.
    let site = Site::of(Generation::Third).await;
    site.database.run("UPDATE user_profiles SET is_premium = false, subscription_tier = 'free'").await;
    let (shadow, live) = (site.ledger(true), site.ledger(false));
    shadow.apply(&[told("evt_1", 1, 1, "active", "gold")]).await.unwrap();
    take_over(&shadow).await;
    live.apply(&[told("evt_2", 9, 5, "active", "bronze")]).await.unwrap();
    assert_eq!((site.access(1).await, site.access(5).await), ((true, true), (true, true)));
    live.set_shadow(true).await.unwrap();
    assert_eq!((site.access(1).await, site.access(5).await), ((true, false), (true, false)));
}

#[tokio::test]
async fn rows_that_no_purchase_made_hold_up_neither_report_nor_takeover_nor_the_way_back() {
    let site = Site::of(Generation::Second).await;
    // Given by hand: access without an end, a row without a subscription, a profile that says nothing.
    let by_hand = format!(
        "ALTER TABLE subscription_tiers ALTER stripe_subscription_id DROP NOT NULL;
         UPDATE subscription_tiers SET current_period_end = 'infinity', current_period_start = '-infinity'
         WHERE stripe_subscription_id = 'sub_1';
         INSERT INTO subscription_tiers (user_id, status, current_period_start, current_period_end)
         VALUES ('{}', 'active', '-infinity', 'infinity');
         UPDATE user_profiles SET is_premium = NULL WHERE id = '{}'",
        user(6),
        user(2)
    );
    site.database.run(&by_hand).await;
    let before = site.says().await;
    let (shadow, live) = (site.ledger(true), site.ledger(false));
    shadow.apply(&[told("evt_1", 1, 1, "active", "gold"), told("evt_2", 1, 2, "active", "silver")]).await.unwrap();
    let report = shadow.shadow_report(100).await.unwrap();
    assert!(report.differences.iter().any(|found| found.field.as_deref() == Some("period_end")), "{report:?}");
    shadow.old_owners().await.unwrap();
    take_over(&shadow).await;
    assert_eq!((site.access(1).await, site.access(2).await), ((true, true), (true, true)));
    live.set_shadow(true).await.unwrap();
    assert_eq!(site.says().await, before);
}
