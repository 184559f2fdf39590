//! From a webhook to PostgreSQL, with the commands that an operator uses on the way.

use crate::commands::run;
use crate::gateway::{Options, event};
use crate::postgres::{Database, Flavour};

#[tokio::test]
async fn an_operator_migrates_serves_and_reads_the_revenue() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Supabase).await;
    // As the role that runs the gateway; commands of the owner have a URL of their own.
    let options = Options::new(directory.path())
        .with("DATABASE_URL", database.url_as("gateway_run").await)
        .with("GATEWAY_LEDGER_OWNER_URL", database.url());

    let log = options.try_serve().err().expect("serve refuses to start without its schema").join("\n");
    assert!(log.contains("migrations are missing") && log.contains("colony-gateway migrate"), "{log}");
    let (code, plan, _) = run(&options, &["migrate", "--plan"]);
    assert_eq!(code, 3, "changes are no error: {plan}");
    assert!(plan.contains("0001_tables") && plan.contains("would run"), "{plan}");
    let (code, printed, _) = run(&options, &["migrate", "--print"]);
    assert_eq!((code, printed.ends_with("\nCOMMIT;\n")), (0, true));
    assert!(printed.contains("CREATE OR REPLACE FUNCTION gateway.judge("), "one file of everything");
    assert!(run(&options, &["migrate", "--plan"]).1.contains("0 of "), "printing changes nothing");
    let without = options.clone().with("GATEWAY_LEDGER_OWNER_URL", "");
    let (code, _, stderr) = run(&without, &["migrate"]);
    assert!(code == 1 && stderr.contains("GATEWAY_LEDGER_OWNER_URL"), "{stderr}");
    let (code, ran, stderr) = run(&options, &["migrate", "--runtime-role", "gateway_run"]);
    assert_eq!(code, 0, "{ran}{stderr}");
    assert!(run(&options, &["migrate"]).1.contains("nothing to do"));
    assert_eq!(run(&options, &["migrate", "--plan"]).0, 0);

    let gateway = options.serve();
    let url = format!("http://{}/webhooks/stripe", gateway.webhooks);
    let simulate =
        ["simulate", "--url", &url, "--events", "300", "--duplicate", "10%", "--out-of-order", "16", "--seed", "11"];
    let (code, stdout, stderr) = run(&options, &simulate);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let health = gateway.until_idle();
    assert_eq!((&health["inbox"]["settled"], &health["inbox"]["dead"]), (&300.into(), &0.into()), "{health}");

    let (code, revenue, stderr) = run(&options, &["revenue", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let revenue: serde_json::Value = serde_json::from_str(&revenue).unwrap();
    assert_eq!(revenue["counts"]["events"], 300);
    assert!(revenue["recurring"].as_array().is_some_and(|lines| !lines.is_empty()), "{revenue}");
    let access = revenue["access"].as_array().expect("a list of subscriptions");
    assert_eq!(access.len() as u64, revenue["counts"]["subscriptions"].as_u64().unwrap());
    assert!(access.iter().any(|line| line["entitles"] == true && line["user"].is_string()), "{revenue}");
    assert!(access.iter().all(|line| line["will_cancel"].is_boolean() && line["account"].is_null()), "{revenue}");
    assert!(run(&options, &["revenue"]).1.contains("300 events"));

    let role = |options: &Options| {
        let report: serde_json::Value = serde_json::from_str(&run(options, &["check", "--json"]).1).unwrap();
        let components = report["components"].as_array().unwrap().iter();
        components.filter(|found| found["component"] == "database role").map(|found| found["status"].clone()).collect()
    };
    let found: Vec<serde_json::Value> = role(&without);
    assert_eq!(found, ["ok"]);
    assert_eq!(role(&without.clone().with("DATABASE_URL", database.url())), ["degraded"]);
    let (code, _, stderr) = run(&without, &["shadow", "begin"]);
    assert!(code == 1 && stderr.contains("owns the schema"), "{stderr}");
}

#[tokio::test]
async fn an_operator_switches_the_public_tables() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Supabase).await;
    // Events go over the REST layer; what needs the database itself is still told where it is.
    let options = Options::new(directory.path())
        .with("SUPABASE_URL", "http://127.0.0.1:9")
        .with("SUPABASE_SERVICE_ROLE_KEY", "a-key")
        .with("GATEWAY_LEDGER", "supabase");
    let (code, _, stderr) = run(&options, &["projections", "show"]);
    assert!(code == 1 && stderr.contains("DATABASE_URL"), "{stderr}");
    let options = options.with("DATABASE_URL", database.url());
    assert_eq!(run(&options, &["migrate"]).0, 0);
    let (code, shown, stderr) = run(&options, &["projections", "show"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(shown.contains("public.subscriptions        auto  written"), "{shown}");
    assert!(shown.contains("public.user_profiles        auto  not written: no table"), "{shown}");
    let (_, shown, _) = run(&options, &["projections", "set", "subscriptions", "off"]);
    assert!(shown.contains("public.subscriptions        off   not written"), "{shown}");
    let (_, shown, _) = run(&options, &["projections", "set", "user_profiles", "on"]);
    assert!(shown.contains("public.user_profiles        on    WAITING"), "{shown}");
    assert_eq!(run(&options, &["projections", "refresh"]).0, 0);
    let (code, _, stderr) = run(&options, &["projections", "set", "profiles", "on"]);
    assert!(code == 2 && stderr.contains("must be subscriptions, subscription_tiers or user_profiles"), "{stderr}");
}

#[test]
fn a_database_that_cannot_be_reached_is_no_reason_not_to_receive_webhooks() {
    let directory = tempfile::tempdir().unwrap();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody@{nowhere}/nothing");
    let gateway = Options::new(directory.path()).with("DATABASE_URL", url).serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    let health = gateway.until(|health| health["components"]["ledger"]["status"] == "degraded");
    assert_eq!((&health["ready"], &health["inbox"]["dead"]), (&true.into(), &0.into()), "{health}");
}
