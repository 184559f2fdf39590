//! What each role can read, write and call after a takeover, as a table for each generation: how many rows it reaches, or `no`.

use super::*;

/// Who asks: nobody, the user of a cancelled subscription, another user, the service role.
const ROLES: [(&str, u32); 4] = [("anon", 0), ("authenticated", 1), ("authenticated", 3), ("service_role", 0)];

fn attempts(generation: Generation) -> Vec<(&'static str, String)> {
    let (one, two) = (user(1), user(2));
    let insert = |fan: bool, id: &str| {
        let creator = if fan { &two } else { &one };
        match generation {
            Generation::First | Generation::Third => format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ('{one}', '{creator}', 'active', {id}) RETURNING 1"
            ),
            Generation::Second => format!(
                "INSERT INTO subscriptions (user_id, subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ({}, '{one}', '{creator}', 'active', {id}) RETURNING 1",
                if fan { "NULL".to_owned() } else { format!("'{one}'") }
            ),
            Generation::Fourth => format!(
                "INSERT INTO subscriptions (user_id, status, stripe_subscription_id)
                 VALUES ('{one}', 'active', {id}) RETURNING 1"
            ),
        }
    };
    let mut attempts = vec![
        ("read subscriptions", "SELECT 1 FROM subscriptions".to_owned()),
        ("change subscriptions", "UPDATE subscriptions SET status = 'active' RETURNING 1".to_owned()),
        ("remove subscriptions", "DELETE FROM subscriptions RETURNING 1".to_owned()),
        ("add a platform row", insert(false, "NULL")),
        ("add a fan's row", insert(true, "NULL")),
        ("add a row with an id", insert(true, "'sub_9'")),
    ];
    if generation != Generation::Fourth {
        let change = if generation == Generation::First { "is_active = true" } else { "status = 'active'" };
        attempts.push(("read tiers", "SELECT 1 FROM subscription_tiers".to_owned()));
        attempts.push(("change tiers", format!("UPDATE subscription_tiers SET {change} RETURNING 1")));
    }
    attempts.push(("read profiles", "SELECT 1 FROM user_profiles".to_owned()));
    attempts.push(("be premium", "UPDATE user_profiles SET is_premium = true RETURNING 1".to_owned()));
    attempts.push(("call the gateway", "SELECT public.gateway_summary(1)".to_owned()));
    attempts.push(("read claims", "SELECT 1 FROM gateway.claims".to_owned()));
    attempts
}

/// Rows are of two users: one has cancelled, one pays. Three have profiles.
fn expected(generation: Generation) -> &'static str {
    match generation {
        // Everybody reads all rows, by a policy that was there; `weak_policies` names it.
        Generation::First => {
            "read subscriptions: 2 2 2 2
             change subscriptions: 0 0 0 2
             remove subscriptions: 0 0 0 2
             add a platform row: no no no no
             add a fan's row: 1 1 1 1
             add a row with an id: no no no 1
             read tiers: 1 1 1 1
             change tiers: 0 0 0 1
             read profiles: 0 1 1 3
             be premium: 0 no no 3
             call the gateway: no no no 1
             read claims: no no no no"
        }
        // In this and the next two users change their own flag, by a policy that was there.
        Generation::Second => {
            "read subscriptions: 0 1 0 2
             change subscriptions: 0 0 0 2
             remove subscriptions: 0 0 0 2
             add a platform row: no no no no
             add a fan's row: no no no 1
             add a row with an id: no no no 1
             read tiers: 0 1 0 2
             change tiers: 0 0 0 2
             read profiles: 3 3 3 3
             be premium: 0 1 1 3
             call the gateway: no no no 1
             read claims: no no no no"
        }
        // Fans manage their own rows, which say nothing of the platform.
        Generation::Third => {
            "read subscriptions: 0 0 0 0
             change subscriptions: 0 0 0 0
             remove subscriptions: 0 0 0 0
             add a platform row: no 1 no 1
             add a fan's row: no 1 no 1
             add a row with an id: no no no 1
             read tiers: 0 1 0 2
             change tiers: 0 0 0 2
             read profiles: 3 3 3 3
             be premium: 0 1 1 3
             call the gateway: no no no 1
             read claims: no no no no"
        }
        Generation::Fourth => {
            "read subscriptions: 0 1 0 2
             change subscriptions: 0 0 0 2
             remove subscriptions: 0 0 0 2
             add a platform row: no no no 1
             add a fan's row: no no no 1
             add a row with an id: no no no 1
             read profiles: 3 3 3 3
             be premium: 0 1 1 3
             call the gateway: no no no 1
             read claims: no no no no"
        }
    }
}

/// What is named of policies that were there.
fn named(generation: Generation) -> &'static [(&'static str, &'static str)] {
    match generation {
        Generation::First => &[("subscriptions", "lets everybody read all rows")],
        Generation::Second | Generation::Third => &[("user_profiles", "lets users change or set their own is_premium")],
        Generation::Fourth => &[("user_profiles", "lets users change their own is_premium")],
    }
}

#[tokio::test]
async fn each_role_reaches_what_is_its_own_and_what_an_old_policy_opens_is_named() {
    for generation in Generation::ALL {
        let database = Database::create(Flavour::Supabase).await;
        database.run(&generation.tables()).await;
        database.run(&(1..=3).map(|number| generation.user(&user(number))).collect::<String>()).await;
        let pool = database.sessions();
        migrate_in_shadow(&mut *pool.session().await).await.unwrap();
        let site = Site { generation, database };
        let shadow = site.ledger(true);
        let story = [told("evt_1", 1, 1, "canceled", "silver"), told("evt_2", 1, 2, "active", "gold")];
        shadow.apply(&story).await.unwrap();
        take_over(&shadow).await;

        let mut found = Vec::new();
        for (name, statement) in attempts(generation) {
            let mut line = format!("{name}:");
            for (role, number) in ROLES {
                let mut transaction = pool.begin().await.unwrap();
                let subject = if number == 0 { String::new() } else { user(number) };
                transaction
                    .execute(format!(
                        "SET LOCAL ROLE {role}; SET LOCAL request.jwt.claim.sub = '{subject}';
                     SET LOCAL request.jwt.claim.role = '{role}'"
                    ))
                    .await
                    .unwrap();
                let done = transaction.rows(statement.clone()).await;
                line += &done.map_or_else(|_| " no".to_owned(), |rows| format!(" {}", rows.len()));
            }
            found.push(line);
        }
        let expected: Vec<&str> = expected(generation).lines().map(str::trim).collect();
        assert_eq!(found, expected, "{generation:?}");
        let policies = shadow.attention(1).await.unwrap().policies;
        let told: Vec<(&str, &str)> =
            policies.iter().map(|weak| (weak.relation.as_str(), weak.problem.as_str())).collect();
        assert_eq!(told, named(generation), "{generation:?}");

        // The statement that each comes with ends it.
        for weak in &policies {
            site.database.run(&weak.remedy).await;
        }
        assert_eq!(shadow.attention(1).await.unwrap().policies, [], "{generation:?}");
    }
}
