//! The migrations: on a fresh database, on each generation of the predecessor's tables, without Supabase's roles,
//! twice in a row, and through `psql`.

use std::collections::BTreeMap;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::{ALL, Kind, Standing, Touch, Wanted, migrate, migrate_in_shadow, plan, print};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports;
use colony_gateway::ledger::{Disposition, Ledger, LedgerErrorKind, Outcome};
use testkit::sql::{Session, Sessions};

use crate::generations::Generation;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};

async fn connect(database: &Database) -> Session {
    database.session().await
}

async fn standings(database: &Database) -> Vec<Standing> {
    plan(&mut *connect(database).await, false).await.unwrap().steps.iter().map(|step| step.standing).collect()
}

/// Tables, columns with type, default and nullability, constraints, triggers, policies and row-level-security flags.
async fn shape(pool: &Sessions) -> Vec<String> {
    let shape = "
        SELECT format('column %s.%s %s %s null:%s', c.table_name, c.column_name, c.data_type, c.column_default,
                      c.is_nullable)
        FROM information_schema.columns c WHERE c.table_schema = 'public'
        UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT format('policy %s %s %s %s %s %s', tablename, policyname, permissive, cmd, qual, with_check)
        FROM pg_policies WHERE schemaname = 'public'
        UNION ALL SELECT format('function %s %s', p.oid::regprocedure, md5(p.prosrc)) FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL SELECT format('rls %s %s', relname, relrowsecurity) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'";
    let mut lines: Vec<String> = pool.values(shape).await.unwrap();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_fresh_database_is_planned_migrated_and_then_complete() {
    for flavour in [Flavour::Plain, Flavour::Supabase] {
        let database = Database::create(flavour).await;
        assert_eq!(standings(&database).await, vec![Standing::Pending; ALL.len()], "{flavour:?}");
        let ran = migrate(&mut *connect(&database).await).await.unwrap();
        assert_eq!(ran.len(), ALL.len(), "{flavour:?}");
        assert_eq!(standings(&database).await, vec![Standing::Applied; ALL.len()], "{flavour:?}");
        assert_eq!(migrate(&mut *connect(&database).await).await.unwrap().len(), 0, "{flavour:?}");
    }
}

#[tokio::test]
async fn planning_changes_nothing() {
    let database = Database::create(Flavour::Plain).await;
    let pool = database.sessions();
    plan(&mut *connect(&database).await, false).await.unwrap();
    let there: bool = pool.value("SELECT to_regnamespace('gateway') IS NOT NULL").await.unwrap();
    assert!(!there);
}

/// Everything the migrations can make: as [`shape`], in both schemas, with the bodies, settings and privileges of functions.
async fn everything(pool: &Sessions) -> Vec<String> {
    let question = "
        SELECT format('function %s %s %s %s %s', p.oid::regprocedure, pg_get_functiondef(p.oid), p.proowner::regrole,
                      (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.proacl) a), p.proconfig)
        FROM pg_proc p WHERE p.pronamespace IN ('gateway'::regnamespace, 'public'::regnamespace)
        UNION ALL SELECT format('relation %s %s %s %s %s', c.oid::regclass, c.relkind, c.relrowsecurity, c.relacl,
                                CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END)
        FROM pg_class c WHERE c.relnamespace IN ('gateway'::regnamespace, 'public'::regnamespace)
        UNION ALL SELECT format('column %s %s %s %s %s %s', a.attrelid::regclass, a.attname, a.attnum,
                                format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcompression)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'gateway'::regnamespace AND a.attnum > 0
        UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = 'gateway'::regnamespace
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'gateway'
        UNION ALL SELECT format('schema %s %s', n.nspacl, obj_description(n.oid)) FROM pg_namespace n
        WHERE n.nspname = 'gateway'
        UNION ALL SELECT format('%s', o) FROM gateway.operation o
        UNION ALL SELECT format('%s', p) FROM gateway.projections p
        UNION ALL SELECT format('%s %s %s', m.version, m.name, m.checksum) FROM gateway.migrations m
        UNION ALL SELECT format('%s %s %s %s %s', d.name, d.kind, d.checksum, d.earlier, d.release)
        FROM gateway.definitions d";
    let mut lines: Vec<String> = pool.values(question).await.unwrap();
    lines.extend(shape(pool).await);
    lines.sort();
    lines
}

#[tokio::test]
async fn what_is_printed_ends_in_the_same_database_as_the_runner_and_may_run_again() {
    for (flavour, tables, shadow) in [
        (Flavour::Plain, String::new(), false),
        (Flavour::Supabase, String::new(), false),
        (Flavour::Supabase, Generation::First.tables(), true),
        (Flavour::Supabase, Generation::Third.tables(), false),
    ] {
        let (by_runner, by_psql) = (Database::create(flavour).await, Database::create(flavour).await);
        by_runner.run(&tables).await;
        by_psql.run(&tables).await;
        let mut connection = connect(&by_runner).await;
        let ran = if shadow { migrate_in_shadow(&mut connection).await } else { migrate(&mut connection).await };
        assert_eq!(ran.unwrap().len(), ALL.len());
        by_psql.psql(&print(&Wanted { shadow, ..Wanted::default() })).unwrap();
        let (one, other) = (everything(&by_runner.sessions()).await, everything(&by_psql.sessions()).await);
        assert!(one.iter().any(|line| line.contains("gateway.judge")));
        assert_eq!(one, other, "{flavour:?} {shadow}");
        by_psql.psql(&print(&Wanted::default())).unwrap();
        assert_eq!(everything(&by_psql.sessions()).await, one, "{flavour:?} {shadow}: a second run");
        assert_eq!(standings(&by_psql).await, vec![Standing::Applied; ALL.len()], "{flavour:?}");
        assert_eq!(migrate(&mut *connect(&by_psql).await).await.unwrap().len(), 0, "{flavour:?}");
    }
}

/// The object behind each function's name: another one once the function was made anew.
async fn identities(pool: &Sessions) -> BTreeMap<String, i64> {
    let question = "SELECT p.oid::regprocedure::text, p.oid::bigint FROM pg_proc p
                    WHERE p.pronamespace IN ('gateway'::regnamespace, 'public'::regnamespace)";
    pool.tuples::<(String, i64)>(question).await.unwrap().into_iter().collect()
}

/// A database whose function `judge` is that of another release: other arguments, another text.
async fn with_another_judge() -> Database {
    let database = Database::create(Flavour::Plain).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    database
        .run(
            "DROP FUNCTION gateway.judge;
             CREATE FUNCTION gateway.judge(batch jsonb, strictly boolean) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
             UPDATE gateway.definitions SET checksum = '00' WHERE name = 'gateway.judge'",
        )
        .await;
    database
}

#[tokio::test]
async fn a_changed_function_is_made_anew_alone_whatever_its_arguments_were() {
    let whole = Database::create(Flavour::Plain).await;
    migrate(&mut *connect(&whole).await).await.unwrap();
    let whole = everything(&whole.sessions()).await;
    for through_psql in [false, true] {
        let database = with_another_judge().await;
        let pool = database.sessions();
        let before = identities(&pool).await;
        let plan = plan(&mut *connect(&database).await, false).await.unwrap();
        let changes: Vec<_> = plan.steps.iter().filter(|step| step.standing != Standing::Applied).collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!((changes[0].label.as_str(), changes[0].standing), ("gateway.judge", Standing::Changed));
        assert_eq!(plan.public_table, Touch::None);
        if through_psql {
            database.psql(&print(&Wanted::default())).unwrap();
        } else {
            let ran = migrate(&mut *connect(&database).await).await.unwrap();
            assert_eq!(ran, ["gateway.judge", "privileges"]);
        }
        let after = identities(&pool).await;
        let renewed: Vec<&String> =
            after.iter().filter(|(name, object)| before.get(*name) != Some(object)).map(|(name, _)| name).collect();
        assert_eq!(renewed, ["gateway.judge(jsonb)"], "{through_psql}");
        assert_eq!(after.len(), before.len(), "the old one is gone");
        let judge = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| line.starts_with("function gateway.judge(")).cloned().collect()
        };
        let (this, that) = (judge(&everything(&pool).await), judge(&whole));
        assert_eq!((this.len(), this), (1, that), "with its settings and privileges");
        assert_eq!(migrate(&mut *connect(&database).await).await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_program_of_before_goes_on_with_the_functions_that_came_after_it() {
    let database = with_another_judge().await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let earlier: Vec<String> = database
        .sessions()
        .value("SELECT earlier FROM gateway.definitions WHERE name = 'gateway.judge'")
        .await
        .unwrap();
    assert_eq!(earlier, ["00"]);
    // This program's own text was there before another one: it is served by that.
    database
        .run("UPDATE gateway.definitions SET earlier = array[checksum], checksum = '01' WHERE name = 'gateway.judge'")
        .await;
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    ledger.check().await.unwrap();
    // A later release is not taken back by an earlier one.
    database.run("UPDATE gateway.definitions SET earlier = '{}', release = '999.1.0'").await;
    ledger.check().await.unwrap();
    assert_eq!(migrate(&mut *connect(&database).await).await.unwrap().len(), 0);
    let said = database.psql(&print(&Wanted::default())).unwrap_err();
    assert!(said.contains("release 999.1.0"), "{said}");
    database.run("UPDATE gateway.definitions SET release = '0.0.9'").await;
    assert!(ledger.check().await.unwrap_err().message.contains("gateway.judge"));
    assert_eq!(migrate(&mut *connect(&database).await).await.unwrap(), ["gateway.judge", "privileges"]);
}

#[tokio::test]
async fn views_are_made_anew_together_and_whoever_could_read_them_still_can() {
    for through_psql in [false, true] {
        let database = Database::create(Flavour::Supabase).await;
        migrate(&mut *connect(&database).await).await.unwrap();
        let pool = database.sessions();
        database
            .run(
                "GRANT SELECT ON gateway.daily_revenue TO authenticated;
                 UPDATE gateway.definitions SET checksum = '00' WHERE name = 'gateway.counted_revenue'",
            )
            .await;
        let before = everything(&pool).await;
        if through_psql {
            database.psql(&print(&Wanted::default())).unwrap();
        } else {
            let ran = migrate(&mut *connect(&database).await).await.unwrap();
            assert!(ran.iter().any(|label| label == "gateway.counted_revenue"), "{ran:?}");
            assert!(ran.iter().any(|label| label == "gateway.daily_revenue"), "{ran:?}");
            assert!(!ran.iter().any(|label| label == "gateway.summary"), "{ran:?}");
        }
        let of_views = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| line.starts_with("relation gateway.") && line.contains(" v ")).collect()
        };
        let (before, after) = (of_views(before), of_views(everything(&pool).await));
        assert!(after.iter().any(|line| line.contains("authenticated=r")), "{after:#?}");
        assert_eq!(before, after, "{through_psql}");
    }
}

#[tokio::test]
async fn a_connection_that_is_open_goes_on_when_every_function_was_made_anew() {
    let database = Database::create(Flavour::Plain).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let config = PostgresConfig { connections: 1, ..PostgresConfig::new(Secret::new(database.url())) };
    let ledger = PostgresLedger::new(&config).unwrap();
    let paid = |number: i64| {
        let (event, customer) = (format!("evt_{number}"), format!("cus_{number}"));
        let planned = Planned::new(&event, "x", number).customer_user(&customer, &format!("user_{number}"));
        planned.subscription(&format!("sub_{number}"), &customer, "active", |_| {}).verdict()
    };
    for number in 0..8 {
        assert_eq!(ledger.apply(&[paid(number)]).await.unwrap(), [Outcome::Applied]);
    }
    database.run("UPDATE gateway.definitions SET checksum = '00'").await;
    let ran = migrate(&mut *connect(&database).await).await.unwrap();
    assert_eq!(ran.len(), ALL.iter().filter(|file| !matches!(file.kind, Kind::Tables { .. })).count());
    assert_eq!(ledger.apply(&[paid(0), paid(8)]).await.unwrap(), [Outcome::Duplicate, Outcome::Applied]);
    assert_eq!(ledger.summary(1).await.unwrap().counts.subscriptions, 9);
}

#[tokio::test]
async fn a_definition_that_no_file_has_any_more_is_removed() {
    let database = Database::create(Flavour::Plain).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let before = everything(&database.sessions()).await;
    database
        .run(
            "CREATE FUNCTION gateway.decide(batch jsonb) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
             INSERT INTO gateway.definitions (name, kind, checksum, release)
             VALUES ('gateway.decide', 'function', '00', '0.0.1')",
        )
        .await;
    assert!(standings(&database).await.contains(&Standing::Gone));
    assert_eq!(migrate(&mut *connect(&database).await).await.unwrap(), ["privileges"]);
    assert_eq!(everything(&database.sessions()).await, before);
}

#[tokio::test]
async fn a_plan_tells_what_becomes_of_the_public_table() {
    let database = Database::create(Flavour::Supabase).await;
    let planned = async |shadow: bool| plan(&mut *connect(&database).await, shadow).await.unwrap().public_table;
    assert_eq!((planned(false).await, planned(true).await), (Touch::Made, Touch::None));
    database.run(&Generation::First.tables()).await;
    assert_eq!(planned(false).await, Touch::Completed);
    migrate(&mut *connect(&database).await).await.unwrap();
    assert_eq!(planned(false).await, Touch::None);
    database.run("UPDATE gateway.definitions SET checksum = '00' WHERE name = 'gateway.index_subscriptions'").await;
    assert_eq!(planned(false).await, Touch::Completed);
    database.run("UPDATE gateway.projections SET mode = 'off' WHERE name = 'subscriptions'").await;
    assert_eq!(planned(false).await, Touch::None);
}

#[tokio::test]
async fn a_generation_keeps_all_it_had_and_a_second_run_changes_nothing() {
    for generation in Generation::ALL {
        let database = Database::create(Flavour::Supabase).await;
        let pool = database.sessions();
        database.run(&generation.tables()).await;
        let before = shape(&pool).await;
        database.run(&print(&Wanted::default())).await;
        let after = shape(&pool).await;
        for line in &before {
            assert!(after.contains(line), "{generation:?} lost: {line}");
        }
        database.run(&print(&Wanted::default())).await;
        assert_eq!(shape(&pool).await, after, "{generation:?}");
    }
}

#[tokio::test]
async fn rows_of_the_platform_get_the_user_id_that_readers_ask_for() {
    let (user, creator) = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002");
    let generation = Generation::First;
    let database = Database::create(Flavour::Supabase).await;
    database.run(&generation.tables()).await;
    database.run(&(generation.user(user) + &generation.user(creator))).await;
    database
        .run(&format!(
            "INSERT INTO subscriptions (subscriber_id, creator_id, status)
             VALUES ('{user}', '{user}', 'active'), ('{user}', '{creator}', 'active')"
        ))
        .await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let found: Vec<String> = database
        .sessions()
        .values(format!("SELECT creator_id::text FROM public.subscriptions WHERE user_id = '{user}'"))
        .await
        .unwrap();
    assert_eq!(found, [user]);
}

#[tokio::test]
async fn a_table_that_is_for_fans_alone_keeps_its_columns_and_gets_the_guard_of_its_ids() {
    let database = Database::create(Flavour::Supabase).await;
    database.run(&Generation::Third.tables()).await;
    let pool = database.sessions();
    let before = shape(&pool).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let added: Vec<String> = shape(&pool).await.into_iter().filter(|line| !before.contains(line)).collect();
    let touched = |line: &&String| line.contains("subscriptions") && !line.contains("gateway_");
    assert_eq!(added.iter().filter(touched).collect::<Vec<_>>(), Vec::<&String>::new());
    let triggers: i64 =
        pool.value("SELECT count(*) FROM pg_trigger WHERE tgname = 'gateway_keep_stripe_ids'").await.unwrap();
    assert_eq!(triggers, 1);
}

#[tokio::test]
async fn a_table_of_another_shape_is_left_as_it_is_and_holds_nothing_up() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE TABLE public.subscriptions (id serial PRIMARY KEY, user_id uuid, plan text NOT NULL)").await;
    database.run("INSERT INTO public.subscriptions (plan) VALUES ('theirs')").await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    let user = "00000000-0000-4000-8000-000000000001";
    let paid =
        Planned::new("evt_1", "x", 0).customer_user("cus_1", user).subscription("sub_1", "cus_1", "active", |_| {});
    assert_eq!(ledger.apply(&[paid.verdict()]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(ledger.summary(1).await.unwrap().counts.not_shown, 1);
    let rows: Vec<String> = database.sessions().values("SELECT plan FROM public.subscriptions").await.unwrap();
    assert_eq!(rows, ["theirs"]);
}

#[tokio::test]
async fn a_file_that_fails_leaves_nothing_of_any() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE VIEW public.subscriptions AS SELECT 1 AS id").await;
    let error = migrate(&mut *connect(&database).await).await.unwrap_err();
    assert!(error.message.contains("public.subscriptions is not a table"), "{error}");
    assert_eq!(standings(&database).await, vec![Standing::Pending; ALL.len()]);
}

#[tokio::test]
async fn a_file_that_was_edited_after_it_ran_stops_the_next_run() {
    let database = Database::create(Flavour::Plain).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    database.run("UPDATE gateway.migrations SET checksum = 'other' WHERE version = 1").await;
    assert!(standings(&database).await.contains(&Standing::Edited));
    let error = migrate(&mut *connect(&database).await).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema);
    assert!(error.message.contains("0001_tables"), "{error}");
    let said = database.psql(&print(&Wanted::default())).unwrap_err();
    assert!(said.contains("0001_tables"), "{said}");
}

#[tokio::test]
async fn a_ledger_without_its_migrations_says_which_and_waits_for_them() {
    let database = Database::create(Flavour::Plain).await;
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    let batch = [Planned::new("evt_1", "x", 0).verdict()];
    for error in [ledger.check().await.unwrap_err(), ledger.apply(&batch).await.unwrap_err()] {
        assert_eq!(error.kind, LedgerErrorKind::Schema);
        assert!(error.message.contains("colony-gateway migrate"), "{error}");
        assert!(matches!(error.disposition(), Disposition::Retry { .. }));
    }
    migrate(&mut *connect(&database).await).await.unwrap();
    ledger.check().await.unwrap();
    database.run("DELETE FROM gateway.definitions WHERE name = 'gateway.summary'").await;
    let error = ledger.check().await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema);
    assert!(error.message.contains("gateway.summary"), "{error}");
    assert!(!error.message.contains("gateway.apply_batch"), "{error}");
}

#[tokio::test]
async fn two_migrations_at_once_do_not_meet() {
    for isolation in ["read committed", "serializable"] {
        let database = Database::create(Flavour::Plain).await;
        database
            .run(&format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''{isolation}''',
                     current_database()); END $$"
            ))
            .await;
        let (mut one, mut other) = (connect(&database).await, connect(&database).await);
        let (one, other) = tokio::join!(migrate(&mut one), migrate(&mut other));
        assert_eq!(one.unwrap().len() + other.unwrap().len(), ALL.len(), "{isolation}");
    }
}

#[tokio::test]
async fn only_the_service_role_may_call_the_functions_and_nobody_sees_the_schema() {
    let database = Database::create(Flavour::Supabase).await;
    migrate(&mut *connect(&database).await).await.unwrap();
    let pool = database.sessions();
    for (role, allowed) in [("anon", false), ("authenticated", false), ("service_role", true)] {
        for function in [
            "gateway_apply_batch(jsonb)",
            "gateway_check()",
            "gateway_summary(integer)",
            "gateway_subscriptions(integer)",
            "gateway_erase(jsonb)",
        ] {
            let statement = format!("SELECT has_function_privilege('{role}', 'public.{function}', 'EXECUTE')");
            let may: bool = pool.value(statement).await.unwrap();
            assert_eq!(may, allowed, "{role} {function}");
        }
        let statement = format!("SELECT has_schema_privilege('{role}', 'gateway', 'USAGE')");
        let may: bool = pool.value(statement).await.unwrap();
        assert!(!may, "{role}");
    }
    let unsafe_entries: Vec<String> = pool
        .values(
            "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'gateway%'
         AND NOT (prosecdef AND proconfig @> '{\"search_path=\\\"\\\"\"}')",
        )
        .await
        .unwrap();
    assert_eq!(unsafe_entries, Vec::<String>::new(), "entries that run with the owner's rights have no search path");
}

#[tokio::test]
async fn a_database_whose_encoding_is_not_utf_8_is_refused_before_anything_is_made() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE DATABASE in_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc TEMPLATE template0").await;
    let url = database.url();
    let (server, _) = url.rsplit_once('/').unwrap();
    let mut connection = Session::open(&format!("{server}/in_ascii")).await;
    let error = migrate(&mut connection).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema);
    assert!(error.message.contains("SQL_ASCII") && error.message.contains("ENCODING 'UTF8'"), "{error}");
    let made: bool = connection.value("SELECT to_regnamespace('gateway') IS NOT NULL").await.unwrap();
    assert!(!made, "nothing was made");
}
