//! Shadow mode: nothing public is written, what differs is told, and the switch to live shows what users have.

use std::collections::BTreeMap;
use std::process::Output;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::{migrate, migrate_in_shadow};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::supabase::{SupabaseConfig, SupabaseLedger};
use colony_gateway::ledger::{LedgerErrorKind, Outcome};
use serde_json::{Value, json};
use testkit::sql::Sessions;

use crate::gateway::{Options, event as unmapped};
use crate::postgres::{Database, Flavour};
use crate::rest::{Rest, SERVICE_KEY};
use crate::stripe_api::StripeStandIn;
use crate::world::{NOW, Site, clock, subscription};

const OLD_TABLES: &str = "
    CREATE TABLE public.subscription_tiers (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), stripe_subscription_id text UNIQUE NOT NULL, user_id uuid NOT NULL,
        tier_name text NOT NULL, status text NOT NULL, current_period_start timestamptz NOT NULL,
        current_period_end timestamptz NOT NULL);
    CREATE TABLE public.subscriptions (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), subscriber_id uuid NOT NULL, creator_id uuid NOT NULL, tier_id text,
        status text NOT NULL, stripe_subscription_id text UNIQUE, stripe_customer_id text,
        current_period_start timestamptz, current_period_end timestamptz, canceled_at timestamptz,
        UNIQUE (subscriber_id, creator_id));
    ALTER TABLE public.subscriptions ENABLE ROW LEVEL SECURITY;
    CREATE TABLE public.user_profiles (
        id uuid PRIMARY KEY, is_premium boolean DEFAULT false, plan text, subscription_tier text, email text);
";

fn user(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A subscription of a user, active and bronze by its metadata.
fn of_user(number: u32, status: &str) -> Value {
    let mut object = subscription(&format!("sub_{number}"), status);
    object["metadata"] = json!({"userId": user(number), "tier": "bronze"});
    object
}

fn event(number: u32, status: &str) -> Value {
    json!({"id": format!("evt_{number}_{status}"), "object": "event", "type": "customer.subscription.updated",
        "livemode": false, "created": NOW - 100, "data": {"object": of_user(number, status)}})
}

/// Every public table with its columns, constraints, indexes, policies and rows.
async fn dump(pool: &Sessions) -> BTreeMap<String, String> {
    let names: Vec<String> = pool
        .values("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
        .await
        .unwrap();
    let mut dump = BTreeMap::new();
    for name in names {
        let question = format!(
            "SELECT concat_ws(E'\\n',
                (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull, ', '
                    ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = 'public.{name}'::regclass AND a.attnum > 0),
                (SELECT string_agg(pg_get_constraintdef(c.oid), ', ' ORDER BY 1) FROM pg_constraint c
                 WHERE c.conrelid = 'public.{name}'::regclass),
                (SELECT string_agg(i.indexdef, ', ' ORDER BY 1) FROM pg_indexes i
                 WHERE i.schemaname = 'public' AND i.tablename = '{name}'),
                (SELECT string_agg(p.policyname, ', ' ORDER BY 1) FROM pg_policies p WHERE p.tablename = '{name}'),
                (SELECT relrowsecurity::text || coalesce(relacl::text, '') FROM pg_class
                 WHERE oid = 'public.{name}'::regclass),
                (SELECT string_agg(t.xmin::text || t.ctid::text || to_jsonb(t)::text, E'\\n' ORDER BY t.ctid)
                 FROM public.\"{name}\" t))"
        );
        let text: Option<String> = pool.value(question).await.unwrap();
        dump.insert(name, text.unwrap_or_default());
    }
    dump
}

async fn database() -> (Database, Sessions) {
    let database = Database::create(Flavour::Supabase).await;
    database.set_time_zone("America/Toronto").await;
    database.run(OLD_TABLES).await;
    let pool = database.sessions();
    (database, pool)
}

/// What the other system wrote: user 1 as it should be, 2 with another status and tier, 4 that is not known here.
async fn seed(database: &Database) {
    let (start, end) = (NOW - 86_400, NOW + 86_400 * 29);
    let row = |number: u32, status: &str, tier: &str| {
        let (user, id) = (user(number), format!("sub_{number}"));
        format!(
            "INSERT INTO public.subscriptions (subscriber_id, creator_id, tier_id, status, stripe_subscription_id,
                 current_period_start, current_period_end)
             VALUES ('{user}', '{user}', '{tier}', '{status}', '{id}', to_timestamp({start}), to_timestamp({end}));
             INSERT INTO public.subscription_tiers (stripe_subscription_id, user_id, tier_name, status,
                 current_period_start, current_period_end)
             VALUES ('{id}', '{user}', '{tier}', '{status}', to_timestamp({start}), to_timestamp({end}));
             INSERT INTO public.user_profiles (id, is_premium, plan, subscription_tier, email)
             VALUES ('{user}', {}, 'premium', '{tier}', 'someone@example.org');",
            status == "active",
        )
    };
    let rows = [row(1, "active", "Bronze"), row(2, "cancelled", "or"), row(4, "active", "bronze")];
    // CHECK constraints of the wild allow one l only in one table; the words are compared, not the spelling.
    database.run(&rows.concat().replace("'cancelled'", "'canceled'")).await;
    // A creator's subscription is none of the platform's.
    let (fan, creator) = (user(8), user(9));
    database
        .run(&format!(
            "INSERT INTO public.subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
             VALUES ('{fan}', '{creator}', 'active', 'sub_8')"
        ))
        .await;
}

async fn ledger(database: &Database, through_rest: bool, shadow: bool) -> (Box<dyn StateOfRecord>, Option<Rest>) {
    if through_rest {
        let rest = Rest::start(database).await;
        let config = SupabaseConfig { shadow, ..SupabaseConfig::new(rest.url(), Secret::new(SERVICE_KEY)) };
        (Box::new(SupabaseLedger::new(&config).unwrap()), Some(rest))
    } else {
        let config = PostgresConfig { shadow, ..PostgresConfig::new(Secret::new(database.url())) };
        (Box::new(PostgresLedger::new(&config).unwrap()), None)
    }
}

async fn verdicts(events: &[Value]) -> Vec<colony_gateway::revenue::verdict::Verdict> {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let nowhere = crate::world::Store::new(crate::world::Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &nowhere.ledger, &clock);
    let bodies: Vec<bytes::Bytes> = events.iter().map(|event| event.to_string().into()).collect();
    site.validator.validate(&bodies).await
}

#[tokio::test]
async fn nothing_public_is_written_and_seeded_differences_are_told_through_both_transports() {
    for through_rest in [false, true] {
        let (database, pool) = database().await;
        let before = dump(&pool).await;
        migrate_in_shadow(&mut *pool.session().await).await.unwrap();
        assert_eq!(dump(&pool).await, before, "migrating alters no public table");
        seed(&database).await;
        let before = dump(&pool).await;
        let (ledger, _rest) = ledger(&database, through_rest, true).await;
        assert_eq!(ledger.is_shadow().await.unwrap(), Some(true));
        let batch = verdicts(&[event(1, "active"), event(2, "past_due"), event(3, "active"), event(8, "active")]).await;
        let outcomes = ledger.apply(&batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{outcomes:?}");

        let report = ledger.shadow_report(100).await.unwrap();
        assert_eq!(dump(&pool).await, before, "neither applying nor comparing writes anything");
        let told: Vec<String> = report
            .differences
            .iter()
            .map(|line| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let (field, here, there) = (text(&line.field), text(&line.here_says), text(&line.there_says));
                format!("{} {} {} {field} {here} {there}", line.relation, line.kind, line.subject)
            })
            .collect();
        for expected in [
            "subscriptions different sub_2 status active canceled",
            "subscriptions different sub_2 tier bronze gold",
            "subscriptions missing_there sub_3  active ",
            "subscriptions missing_here sub_4   active",
            "subscription_tiers different sub_2 bought bronze gold",
            "subscription_tiers missing_there sub_3  active ",
            "subscription_tiers missing_here sub_4   active",
        ] {
            assert!(told.iter().any(|line| line == expected), "{expected:?} is not in {told:#?}");
        }
        let (two, three, four) = (user(2), user(3), user(4));
        for expected in [
            format!("user_profiles different {two} premium true false"),
            format!("user_profiles missing_there {three}  bronze "),
            format!("user_profiles missing_here {four}   premium"),
        ] {
            assert!(told.contains(&expected), "{expected:?} is not in {told:#?}");
        }
        assert!(!told.iter().any(|line| line.contains("sub_1") || line.contains(&user(1))), "{told:#?}");
        assert!(!told.iter().any(|line| line.contains('@')), "no personal data: {told:#?}");
        assert!(!told.iter().any(|line| line.starts_with("subscriptions") && line.contains("sub_8")), "{told:#?}");
        assert_eq!(report.total(), report.differences.len() as u64);
        assert_eq!(report.of_kind("missing_here"), 3, "{:?}", report.counts);
        assert_eq!(ledger.shadow_report(2).await.unwrap().differences.len(), 2, "counted all, shown two");
    }
}

#[tokio::test]
async fn the_switch_to_live_shows_what_users_have_through_both_transports() {
    for through_rest in [false, true] {
        let (database, pool) = database().await;
        migrate_in_shadow(&mut *pool.session().await).await.unwrap();
        seed(&database).await;
        let (shadow, _rest) = ledger(&database, through_rest, true).await;
        shadow.apply(&verdicts(&[event(1, "active"), event(2, "past_due"), event(3, "active")]).await).await.unwrap();
        let mut told = 0;
        colony_gateway::app::shadow::end(&*shadow, |transactions| told = transactions).await.unwrap();
        assert_eq!(told, 1);
        let question = "SELECT stripe_subscription_id || ' ' || status || ' ' || tier FROM public.subscriptions
                        WHERE subscriber_id = creator_id AND stripe_subscription_id <> 'sub_4' ORDER BY 1";
        let shown: Vec<String> = pool.values(question).await.unwrap();
        assert_eq!(shown, ["sub_1 active bronze", "sub_2 active bronze", "sub_3 active bronze"]);
        let report = shadow.shadow_report(100).await.unwrap();
        assert!(!report.shadow);
        let left: Vec<&str> = report.differences.iter().map(|line| line.kind.as_str()).collect();
        assert!(left.iter().all(|kind| *kind != "different"), "{:?}", report.differences);

        // A sender that is still in shadow mode is refused, and so is a live one once the database is in it.
        let batch = verdicts(&[event(5, "active")]).await;
        let error = shadow.apply(&batch).await.unwrap_err();
        assert_eq!(error.kind, LedgerErrorKind::Schema);
        assert!(error.message.contains("GATEWAY_MODE"), "{error}");
        let (live, _rest) = ledger(&database, through_rest, false).await;
        live.apply(&batch).await.unwrap();
        live.set_shadow(true).await.unwrap();
        assert_eq!(live.apply(&batch).await.unwrap_err().kind, LedgerErrorKind::Schema);
    }
}

#[tokio::test]
async fn migrating_in_shadow_leaves_a_database_in_the_mode_that_it_is_in() {
    let (_database, pool) = database().await;
    migrate(&mut *pool.session().await).await.unwrap();
    assert!(migrate_in_shadow(&mut *pool.session().await).await.unwrap().is_empty());
    let shadow: bool = pool.value("SELECT gateway.is_shadow()").await.unwrap();
    assert!(!shadow);
}

fn run(options: &Options, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = options.command().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_runs_beside_the_old_system_and_takes_over() {
    let directory = tempfile::tempdir().unwrap();
    let (database, pool) = database().await;
    let before = dump(&pool).await;
    let live = Options::new(directory.path()).with("DATABASE_URL", database.url()).with("GATEWAY_USER_IDS", "uuid");
    let shadow = live.clone().with("GATEWAY_MODE", "shadow").with("GATEWAY_SHADOW_INTERVAL", "100ms");
    let (code, _, stderr) = run(&shadow, &["migrate"]);
    assert_eq!(code, 0, "{stderr}");
    let log = live.try_serve().err().expect("a live gateway refuses a database in shadow mode").join("\n");
    assert!(log.contains("shadow end") && log.contains("GATEWAY_MODE=shadow"), "{log}");

    let gateway = shadow.serve();
    for number in 1..4 {
        assert_eq!(gateway.post(&event(number, "active").to_string()).status, 200);
    }
    assert_eq!(gateway.post(&unmapped("evt_other")).status, 200);
    gateway.until_idle();
    let differences = |kind: &str| gateway.metric(&format!("colony_gateway_shadow_differences{{kind=\"{kind}\"}}"));
    gateway.until(|health| {
        health["components"]["shadow"]["detail"].as_str().is_some_and(|it| it.contains("6 differences"))
    });
    assert_eq!((differences("missing_there"), differences("different")), (6, 0));
    let (code, stdout, stderr) = run(&shadow, &["shadow", "report"]);
    assert_eq!(code, 3, "a no go is no error: {stderr}");
    assert!(stdout.contains("mode shadow") && stdout.contains("has no row in subscription_tiers"), "{stdout}");
    assert!(stdout.contains("purchases get access that the old system missed"), "{stdout}");
    assert!(stdout.contains("the user has no row in public.user_profiles yet"), "{stdout}");
    assert!(stdout.contains("no go:\n  3 users could not be shown completely"), "{stdout}");
    let (code, stdout, _) = run(&shadow, &["shadow", "report", "--json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    testkit::examples::assert_as_documented("shadow report", &report);
    assert_eq!((code, &report["shadow"], &report["go"]), (3, &true.into(), &false.into()));
    assert_eq!(report["not_shown"].as_array().map(Vec::len), Some(3));
    assert_eq!(dump(&pool).await, before, "byte-identical");
    gateway.signal("TERM");
    drop(gateway);

    let (code, stdout, _) = run(&live, &["shadow", "end"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("3 users would be written; 3 of them cannot be shown completely"), "{stdout}");
    assert!(stdout.contains("nothing was changed"), "{stdout}");
    assert_eq!(dump(&pool).await, before, "byte-identical");
    let (code, stdout, stderr) = run(&live, &["shadow", "end", "--anyway"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("the database is live") && stdout.contains("3 users cannot be shown yet"), "{stdout}");
    let count = |table: &str| format!("SELECT count(*) FROM public.{table}");
    let rows: i64 = pool.value(count("subscription_tiers")).await.unwrap();
    assert_eq!(rows, 3);
    // Nothing says that this one is used for the platform: creators' fans stand in such tables.
    let fans: i64 = pool.value(count("subscriptions")).await.unwrap();
    assert_eq!(fans, 0);
    let log = shadow.try_serve().err().expect("a gateway in shadow mode refuses a live database").join("\n");
    assert!(log.contains("shadow begin"), "{log}");
    drop(live.serve());

    let embedded = Options::new(directory.path());
    let (code, _, stderr) = run(&embedded, &["shadow", "report"]);
    assert!(code == 1 && stderr.contains("DATABASE_URL"), "{stderr}");
    drop(embedded.with("GATEWAY_MODE", "shadow").serve());
}
