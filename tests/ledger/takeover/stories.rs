//! Nine users of nine stories on each generation, and what its readers find of each in shadow mode, after the takeover, after an
//! hour of live traffic, after the way back and after the second takeover.

use super::*;
use crate::readers::{Seen, seen};
use colony_gateway::revenue::rows::ClaimRank;

const ACTIVE: u32 = 1;
const TRIAL: u32 = 2;
const LATE: u32 = 3;
const CANCELLED: u32 = 4;
const ENDING: u32 = 5;
const RESUBSCRIBED: u32 = 6;
const TWICE: u32 = 7;
const NEVER: u32 = 8;
const UNNAMED: u32 = 9;

/// A subscription `id` of user `number`; one of [`UNNAMED`] names nobody.
fn one(event: &str, seconds: i64, number: u32, id: &str, status: &str, tier: &str) -> Verdict {
    let planned = Planned::new(event, "customer.subscription.updated", seconds);
    let planned = if number == UNNAMED { planned } else { planned.subscription_user(id, &user(number)) };
    planned
        .subscription(id, &format!("cus_{number}"), status, |row| {
            row.tier = Some(tier.to_owned());
            row.preference = preference(row.entitles, tier, &row.id);
        })
        .verdict()
}

/// What Stripe tells in shadow mode.
fn told() -> Vec<Verdict> {
    vec![
        one("evt_1", 1, ACTIVE, "sub_1", "active", "silver"),
        one("evt_2", 1, TRIAL, "sub_2", "trialing", "silver"),
        one("evt_3", 1, LATE, "sub_3", "past_due", "silver"),
        one("evt_4", 1, CANCELLED, "sub_4", "canceled", "silver"),
        one("evt_5", 1, ENDING, "sub_5", "active", "bronze"),
        one("evt_6", 1, RESUBSCRIBED, "sub_6a", "canceled", "silver"),
        one("evt_7", 2, RESUBSCRIBED, "sub_6b", "active", "gold"),
        one("evt_8", 1, TWICE, "sub_7a", "active", "bronze"),
        one("evt_9", 1, TWICE, "sub_7b", "active", "gold"),
        one("evt_10", 1, UNNAMED, "sub_9", "active", "silver"),
    ]
}

/// What the predecessor wrote of it, by its own rules: each status but `active` is `canceled` in the first generation, late payers
/// have no access anywhere, who subscribed again has no second row where rows are unique to a user.
fn by_the_predecessor(generation: Generation) -> String {
    let rows: &[(u32, &str, &str)] = match generation {
        Generation::First => &[
            (ACTIVE, "sub_1", "active"),
            (TRIAL, "sub_2", "canceled"),
            (LATE, "sub_3", "canceled"),
            (CANCELLED, "sub_4", "canceled"),
            (ENDING, "sub_5", "active"),
            (RESUBSCRIBED, "sub_6a", "canceled"),
            (TWICE, "sub_7a", "active"),
            (UNNAMED, "sub_9", "active"),
        ],
        Generation::Second | Generation::Third | Generation::Fourth => &[
            (ACTIVE, "sub_1", "active"),
            (TRIAL, "sub_2", "trialing"),
            (LATE, "sub_3", "past_due"),
            (CANCELLED, "sub_4", "canceled"),
            (ENDING, "sub_5", "active"),
            (RESUBSCRIBED, "sub_6a", "canceled"),
            (RESUBSCRIBED, "sub_6b", "active"),
            (TWICE, "sub_7a", "active"),
            (TWICE, "sub_7b", "active"),
            (UNNAMED, "sub_9", "active"),
        ],
    };
    let mut script: String = (1..=9).map(|number| generation.user(&user(number))).collect();
    for (number, id, status) in rows {
        let user = user(*number);
        script += &generation.row(&user, id, status).unwrap_or_default();
        if generation.has_tier_rows() {
            let status = if *status == "canceled" { "cancelled" } else { status };
            write!(
                script,
                "INSERT INTO subscription_tiers (stripe_subscription_id, user_id, tier_name, status,
                     current_period_start, current_period_end)
                 VALUES ('{id}', '{user}', 'silver', '{status}', now(), now() + interval '20 days');"
            )
            .unwrap();
        }
        if *status == "active" {
            write!(
                script,
                "UPDATE user_profiles SET is_premium = true, subscription_tier = 'silver' WHERE id = '{user}';"
            )
            .unwrap();
        }
    }
    script
}

/// Whether all readers of this generation give the user access, or all give none.
fn access(generation: Generation, seen: &Seen) -> Option<bool> {
    let profile = seen.profile.as_ref().is_some_and(|(premium, _)| *premium);
    let rows = [
        generation.has_platform_rows().then_some(seen.active.is_some()),
        generation.has_tier_rows().then_some(seen.latest.is_some()),
    ];
    rows.into_iter().flatten().all(|gives| gives == profile).then_some(profile)
}

async fn check(site: &Site, phase: &str, expected: [bool; 9]) {
    for (number, expected) in (1..).zip(expected) {
        let seen = seen(&site.database, site.generation, &user(number)).await;
        let found = access(site.generation, &seen);
        assert_eq!(found, Some(expected), "{:?}, {phase}, user {number}: {seen:?}", site.generation);
    }
}

#[tokio::test]
async fn nine_users_have_what_they_pay_for_after_each_step() {
    for generation in Generation::ALL {
        let database = Database::create(Flavour::Supabase).await;
        database.run(&generation.tables()).await;
        database.run(&by_the_predecessor(generation)).await;
        let pool = database.sessions();
        migrate_in_shadow(&mut *pool.session().await).await.unwrap();
        pool.close().await;
        let site = Site { generation, database };
        let (shadow, live) = (site.ledger(true), site.ledger(false));
        let before = site.says().await;
        shadow.apply(&told()).await.unwrap();
        assert_eq!(site.says().await, before, "{generation:?}: shadow mode writes nothing");

        // One payer names nobody: an old row does, where users cannot write it, else a session that Stripe keeps.
        let reasons = shadow.attention(9).await.unwrap().reasons;
        assert_eq!(reasons.values().sum::<u64>(), 1, "{generation:?}: said before the takeover");
        let old = shadow.old_owners().await.unwrap();
        assert_eq!(!old.is_empty(), generation.has_tier_rows(), "{generation:?}: {old:?}");
        let rank = if old.is_empty() { ClaimRank::Session } else { ClaimRank::Predecessor };
        let evidence = Planned::new("evt_11", "gateway.evidence", 0).claim(rank, "sub_9", &user(UNNAMED));
        shadow.apply(&[evidence.verdict()]).await.unwrap();
        let prediction = colony_gateway::app::shadow::predict(&shadow).await.unwrap();
        assert!(prediction.is_whole(), "{generation:?}: {prediction:?}");
        assert_eq!(site.says().await, before, "{generation:?}: a rehearsal is undone");

        take_over(&shadow).await;
        check(&site, "takeover", [true, true, true, false, true, true, true, false, true]).await;

        // The active one cancels, the late one pays, the cancelled one buys, the ending one ends, one who never did buys.
        live.apply(&[
            one("evt_21", 9, ACTIVE, "sub_1", "canceled", "silver"),
            one("evt_22", 9, LATE, "sub_3", "active", "silver"),
            one("evt_23", 9, CANCELLED, "sub_4b", "active", "gold"),
            one("evt_24", 9, ENDING, "sub_5", "canceled", "bronze"),
            one("evt_25", 9, NEVER, "sub_8", "active", "bronze"),
        ])
        .await
        .unwrap();
        check(&site, "live", [false, true, true, true, false, true, true, true, true]).await;

        let back = live.set_shadow(true).await.unwrap().given_back.unwrap();
        let changed = [ACTIVE, LATE, CANCELLED, ENDING, NEVER].map(user);
        assert_eq!(back.kept_users, changed, "{generation:?}: said at the way back");
        let now = site.says().await;
        for number in [TRIAL, RESUBSCRIBED, TWICE, UNNAMED] {
            let of_user = |lines: &[String]| -> Vec<String> {
                lines
                    .iter()
                    .filter(|line| line.contains(&user(number)) && !line.starts_with("users"))
                    .cloned()
                    .collect()
            };
            assert_eq!(of_user(&now), of_user(&before), "{generation:?}: user {number} is as before the takeover");
        }
        for (number, expected) in [(ACTIVE, false), (LATE, true), (CANCELLED, true), (ENDING, false), (NEVER, true)] {
            let seen = seen(&site.database, generation, &user(number)).await;
            assert_eq!(seen.profile.as_ref().map(|(premium, _)| *premium), Some(expected), "{generation:?} {number}");
        }

        take_over(&shadow).await;
        check(&site, "second takeover", [false, true, true, true, false, true, true, true, true]).await;
    }
}
