//! What the predecessor's readers find after each scenario, in each generation of tables, asked under their own role.

mod scenarios;

use colony_gateway::postgres::Json;
use serde_json::Value;
use testkit::sql::Sessions;

use crate::generations::Generation;
use crate::postgres::Database;

/// What a reader of one user sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The user's one active row of `subscriptions`, by the name of its tier; `None` when there is not exactly one.
    pub(crate) active: Option<String>,
    /// Status of the user's rows in `subscriptions`.
    pub(crate) statuses: Vec<String>,
    /// The newest active row per Stripe subscription: its tier.
    pub(crate) latest: Option<String>,
    /// `is_premium` and tier of the profile.
    pub(crate) profile: Option<(bool, String)>,
}

/// Asks as the user does: signed in, under row level security.
async fn ask(pool: &Sessions, user: &str, question: &str) -> Vec<Value> {
    let mut transaction = pool.begin().await.unwrap();
    transaction
        .execute(format!(
            "SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claim.sub = '{user}';
         SET LOCAL request.jwt.claim.role = 'authenticated'"
        ))
        .await
        .unwrap();
    let question = format!("SELECT to_jsonb(q) FROM ({question}) q");
    let rows: Vec<Json<Value>> = transaction.values(question).await.unwrap();
    rows.into_iter().map(|Json(row)| row).collect()
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}")).to_owned()
}

/// All that readers of this generation see of a user.
pub(crate) async fn seen(database: &Database, generation: Generation, user: &str) -> Seen {
    let pool = database.sessions();
    // Readers embed the tier through the foreign key, where there is a table of tiers; `.single()` wants exactly one row.
    let active = match generation {
        Generation::First | Generation::Second => format!(
            "SELECT t.{} AS tier FROM public.subscriptions s
             JOIN public.subscription_tiers t ON t.id = s.tier_id
             WHERE s.user_id = '{user}' AND s.status = 'active'",
            if generation == Generation::First { "name" } else { "tier_name" }
        ),
        Generation::Third => format!(
            "SELECT s.status AS tier FROM public.subscriptions s
             WHERE s.subscriber_id = '{user}' AND s.creator_id = '{user}' AND s.status = 'active'"
        ),
        Generation::Fourth => {
            format!("SELECT s.tier FROM public.subscriptions s WHERE s.user_id = '{user}' AND s.status = 'active'")
        }
    };
    let active = match &ask(&pool, user, &active).await[..] {
        [row] => Some(text(row, "tier")),
        _ => None,
    };
    let statuses = match generation {
        Generation::First | Generation::Second => {
            format!("SELECT s.status FROM public.subscriptions s WHERE s.user_id = '{user}' ORDER BY 1")
        }
        Generation::Third => format!(
            "SELECT s.status FROM public.subscriptions s
             WHERE s.subscriber_id = '{user}' AND s.creator_id = '{user}' ORDER BY 1"
        ),
        // Of many rows, each of a Stripe subscription, the active one or else the latest.
        Generation::Fourth => format!(
            "SELECT s.status FROM public.subscriptions s WHERE s.user_id = '{user}'
             ORDER BY s.status = 'active' DESC, s.created_at DESC LIMIT 1"
        ),
    };
    let statuses = ask(&pool, user, &statuses).await.iter().map(|row| text(row, "status")).collect();
    let latest = if generation.has_tier_rows() {
        let question = format!(
            "SELECT t.tier_name FROM public.subscription_tiers t
             WHERE t.user_id = '{user}' AND t.status IN ('active', 'trialing')
             ORDER BY t.current_period_end DESC LIMIT 1"
        );
        ask(&pool, user, &question).await.first().map(|row| text(row, "tier_name"))
    } else {
        None
    };
    let question =
        format!("SELECT p.is_premium, p.subscription_tier FROM public.user_profiles p WHERE p.id = '{user}'");
    let profile = ask(&pool, user, &question).await.first().map(|row| {
        let tier = row["subscription_tier"].as_str().unwrap_or("null").to_owned();
        (row["is_premium"].as_bool().unwrap(), tier)
    });
    pool.close().await;
    Seen { active, statuses, latest, profile }
}
