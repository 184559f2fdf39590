//! docs/migration.md as it is followed: its commands in order, on each generation of the predecessor's tables, from an environment
//! as the predecessor had it.
//!
//! What the test puts in its own place: where the service's files are, the address of the gateway, what the service manager and
//! the installer do.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::sql::Sessions;

use crate::generations::Generation;
use crate::postgres::{Database, Flavour};
use crate::stripe_api::{KEY, StripeStandIn};
use crate::world::{NOW, subscription};

/// A service manager that starts, restarts and waits, and nothing else.
const SYSTEMCTL: &str = r#"#!/bin/sh
if [ -f service.pid ]; then
    kill -TERM "$(cat service.pid)" && while kill -0 "$(cat service.pid)" 2>/dev/null; do sleep 0.1; done
fi
colony-gateway serve > serve.log 2>&1 &
echo $! > service.pid
until curl -sf "http://$GATEWAY_LISTEN/readyz" > /dev/null; do
    kill -0 "$(cat service.pid)" || { cat serve.log; exit 1; }
    sleep 0.1
done
"#;

/// The program with the service's settings, as `gatewayctl` is, or before there is a service with those of the shell that read them.
const PROGRAM: &str = r#"#!/bin/sh
for settings in etc/gateway.env gateway.env; do
    if [ -f $settings ]; then set -a; . ./$settings; set +a; break; fi
done
exec "$REAL_PROGRAM" "$@"
"#;

/// Commands of the document, by step: each fence of its first three steps.
fn commands() -> Vec<String> {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migration.md")).unwrap();
    let steps = guide.split("\n## 4 Colony").next().unwrap();
    steps.split("```sh\n").skip(1).map(|fence| fence.split("```").next().unwrap().to_owned()).collect()
}

fn user(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A place to follow the document in.
struct Place {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    address: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(id) = fs::read_to_string(self.directory.path().join("service.pid")) {
            let _ = Command::new("kill").args(["-KILL", id.trim()]).status();
        }
    }
}

impl Place {
    #[expect(clippy::disallowed_methods, reason = "the commands of the document are looked for where the test's are")]
    fn new(database: &Database, stripe: &StripeStandIn) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for folder in ["bin", "etc", "data", "deploy"] {
            fs::create_dir(here.join(folder)).unwrap();
        }
        let scripts =
            [("bin/systemctl", SYSTEMCTL), ("bin/colony-gateway", PROGRAM), ("deploy/install.sh", "#!/bin/sh\n")];
        for (name, text) in scripts {
            fs::write(here.join(name), text).unwrap();
            fs::set_permissions(here.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(
            here.join("predecessor.env"),
            format!(
                "STRIPE_SECRET_KEY={KEY}\nSTRIPE_WEBHOOK_SECRET=whsec_of_the_predecessor\nVITE_SUPABASE_URL=https://project.supabase.co\n\
                 SUPABASE_SERVICE_ROLE_KEY=service-key\nUSE_COLONY_OS=true\nCOLONIES_SERVER_HOST=colony.example.com\n\
                 COLONIES_COLONY_NAME=zyeute-colony\nSTRIPE_PRICE_SILVER=price_1\n"
            ),
        )
        .unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (address, admin) = (free(), free());
        let path = std::env::var("PATH").unwrap();
        let environment = [
            ("PATH", format!("{}/bin:{path}:{}", here.display(), postgres_programs().display())),
            ("HOME", here.display().to_string()),
            ("REAL_PROGRAM", testkit::program().display().to_string()),
            ("DATABASE_URL", database.url()),
            ("NEW_ENDPOINT_SECRET", "whsec_of_the_new_endpoint".to_owned()),
            ("GATEWAY_LISTEN", address.clone()),
            ("GATEWAY_ADMIN_LISTEN", admin),
            ("GATEWAY_DATA_DIR", here.join("data").display().to_string()),
            ("GATEWAY_STRIPE_API_URL", stripe.base_url.clone()),
            ("GATEWAY_LOG_FORMAT", "json".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { directory, environment, address }
    }

    /// Runs one fence; what it printed.
    fn follow(&self, fence: &str) -> String {
        let script = fence
            .replace("/etc/colony-gateway", "etc")
            .replace("https://gateway.example.com", &format!("http://{}", self.address));
        let output = Command::new("bash")
            .args(["-euc", &script])
            .current_dir(self.directory.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let log = fs::read_to_string(self.directory.path().join("serve.log")).unwrap_or_default();
        assert!(output.status.success(), "{script}\n--- ended with {}:\n{said}\n--- log:\n{log}", output.status);
        said
    }
}

/// Debian keeps them beside the server.
fn postgres_programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).max().unwrap_or_default()
}

/// User 1 is active, 2 late, 4 has cancelled, 9 pays by a subscription that names nobody.
async fn world(generation: Generation) -> (Database, StripeStandIn) {
    let stripe = StripeStandIn::start().await;
    for (number, status) in [(1, "active"), (2, "past_due"), (4, "canceled"), (9, "active")] {
        let id = format!("sub_{number}");
        let mut object = subscription(&id, status);
        object["metadata"] = if number == 9 { json!({}) } else { json!({"userId": user(number), "tier": "silver"}) };
        stripe.put(&format!("/v1/subscriptions/{id}"), object);
    }
    let session: Value = json!({"id": "cs_9", "object": "checkout.session", "status": "complete", "mode": "subscription",
        "subscription": "sub_9", "customer": "cus_of_sub_9", "created": NOW - 86_400, "livemode": false,
        "metadata": {"userId": user(9), "tier": "silver"}});
    stripe.put("/v1/checkout/sessions/sub_9", json!([session]));
    let database = Database::create(Flavour::Supabase).await;
    let mut script = generation.tables();
    for number in [1, 2, 4, 9] {
        script += &generation.user(&user(number));
    }
    for (number, status) in [(1, "active"), (2, "canceled"), (4, "canceled"), (9, "active")] {
        let (user, id) = (user(number), format!("sub_{number}"));
        script += &generation.row(&user, &id, status).unwrap_or_default();
        if generation.has_tier_rows() {
            // Local time, written as if it were UTC.
            let (start, end) = (NOW - 86_400 - 18_000, NOW + 86_400 * 29 - 18_000);
            let status = if status == "canceled" { "cancelled" } else { status };
            write!(
                script,
                "INSERT INTO subscription_tiers (stripe_subscription_id, user_id, tier_name, status,
                     current_period_start, current_period_end)
                 VALUES ('{id}', '{user}', 'silver', '{status}', to_timestamp({start}), to_timestamp({end}));"
            )
            .unwrap();
        }
        if status == "active" {
            write!(
                script,
                "UPDATE user_profiles SET is_premium = true, subscription_tier = 'silver' WHERE id = '{user}';"
            )
            .unwrap();
        }
    }
    database.run(&script).await;
    (database, stripe)
}

/// Which of the users 1, 2, 4 and 9 have access by their row, and by their profile.
async fn access(pool: &Sessions, generation: Generation) -> Vec<(bool, bool)> {
    let table = if generation.has_tier_rows() { "subscription_tiers" } else { "subscriptions" };
    let mut found = Vec::new();
    for number in [1, 2, 4, 9] {
        let question = format!(
            "SELECT EXISTS (SELECT FROM public.{table} WHERE stripe_subscription_id = 'sub_{number}' AND status = 'active'),
                    (SELECT is_premium FROM public.user_profiles WHERE id = '{}')",
            user(number)
        );
        found.push(pool.tuple(question).await.unwrap());
    }
    found
}

async fn follow(generation: Generation) {
    let (database, stripe) = world(generation).await;
    let pool = database.sessions();
    let place = Place::new(&database, &stripe);
    let before = [(true, true), (false, false), (false, false), (true, true)];
    let all = commands();
    assert!(all.len() >= 7, "{all:#?}");
    for fence in all {
        if fence.contains("shadow begin") {
            let after = [(true, true), (true, true), (false, false), (true, true)];
            assert_eq!(access(&pool, generation).await, after, "{generation:?} after the takeover");
        } else {
            assert_eq!(access(&pool, generation).await, before, "{generation:?} before {fence}");
        }
        let said = place.follow(&fence);
        if fence.contains("shadow report\n") {
            assert!(said.contains("late payers get access") && said.contains("\ngo: "), "{said}");
        }
        if fence.contains("curl") {
            assert!(said.contains("400"), "{said}");
        }
    }
    assert_eq!(access(&pool, generation).await, before, "{generation:?} after the way back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_holds_on_the_first_generation() {
    follow(Generation::First).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_holds_on_the_second_generation() {
    follow(Generation::Second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_holds_on_the_third_generation() {
    follow(Generation::Third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_holds_on_the_fourth_generation() {
    follow(Generation::Fourth).await;
}
