//! The migrations: on a fresh database, on each generation of the predecessor's tables, without Supabase's roles,
//! twice in a row, and by other tools.

use colony_gateway::config::secret::Secret;
use colony_gateway::ledger::migrations::{ALL, Standing, migrate, plan};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports;
use colony_gateway::ledger::{Disposition, Ledger, LedgerErrorKind, Outcome};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::generations::Generation;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect_with(&database.options()).await.unwrap()
}

async fn standings(database: &Database) -> Vec<Standing> {
    plan(&mut connect(database).await).await.unwrap().iter().map(|step| step.standing).collect()
}

/// Tables, columns with type, default and nullability, constraints, triggers, policies and row-level-security flags.
async fn shape(pool: &PgPool) -> Vec<String> {
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
    let mut lines: Vec<String> = sqlx::query_scalar(shape).fetch_all(pool).await.unwrap();
    lines.sort();
    lines
}

#[tokio::test]
async fn a_fresh_database_is_planned_migrated_and_then_complete() {
    for flavour in [Flavour::Plain, Flavour::Supabase] {
        let database = Database::create(flavour).await;
        assert_eq!(standings(&database).await, vec![Standing::Pending; ALL.len()], "{flavour:?}");
        let ran = migrate(&mut connect(&database).await).await.unwrap();
        assert_eq!(ran.len(), ALL.len(), "{flavour:?}");
        assert_eq!(standings(&database).await, vec![Standing::Applied; ALL.len()], "{flavour:?}");
        assert_eq!(migrate(&mut connect(&database).await).await.unwrap().len(), 0, "{flavour:?}");
    }
}

#[tokio::test]
async fn planning_changes_nothing() {
    let database = Database::create(Flavour::Plain).await;
    let pool = database.pool().await;
    plan(&mut connect(&database).await).await.unwrap();
    let there: bool =
        sqlx::query_scalar("SELECT to_regnamespace('gateway') IS NOT NULL").fetch_one(&pool).await.unwrap();
    assert!(!there);
}

#[tokio::test]
async fn files_run_by_another_tool_count_and_run_again_without_harm() {
    for flavour in [Flavour::Plain, Flavour::Supabase] {
        let database = Database::create(flavour).await;
        for _ in 0..2 {
            for migration in ALL {
                database.run(migration.sql).await;
            }
        }
        assert_eq!(standings(&database).await, vec![Standing::Applied; ALL.len()], "{flavour:?}");
        assert_eq!(migrate(&mut connect(&database).await).await.unwrap().len(), 0, "{flavour:?}");
    }
}

#[tokio::test]
async fn a_generation_keeps_all_it_had_and_a_second_run_changes_nothing() {
    for generation in Generation::ALL {
        let database = Database::create(Flavour::Supabase).await;
        let pool = database.pool().await;
        database.run(&generation.tables()).await;
        let before = shape(&pool).await;
        for migration in ALL {
            database.run(migration.sql).await;
        }
        let after = shape(&pool).await;
        for line in &before {
            assert!(after.contains(line), "{generation:?} lost: {line}");
        }
        for migration in ALL {
            database.run(migration.sql).await;
        }
        assert_eq!(shape(&pool).await, after, "{generation:?}");
    }
}

#[tokio::test]
async fn rows_of_the_platform_get_the_user_id_that_readers_ask_for() {
    let (user, creator) = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002");
    for generation in [Generation::First, Generation::Third] {
        let database = Database::create(Flavour::Supabase).await;
        database.run(&generation.tables()).await;
        database.run(&(generation.user(user) + &generation.user(creator))).await;
        database
            .run(&format!(
                "INSERT INTO subscriptions (subscriber_id, creator_id, status)
                 VALUES ('{user}', '{user}', 'active'), ('{user}', '{creator}', 'active')"
            ))
            .await;
        migrate(&mut connect(&database).await).await.unwrap();
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT creator_id::text FROM public.subscriptions WHERE user_id = '{user}'"
        )))
        .fetch_all(&database.pool().await)
        .await
        .unwrap();
        assert_eq!(found, [user], "{generation:?}");
    }
}

#[tokio::test]
async fn a_table_of_another_shape_is_left_as_it_is_and_holds_nothing_up() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE TABLE public.subscriptions (id serial PRIMARY KEY, user_id uuid, plan text NOT NULL)").await;
    database.run("INSERT INTO public.subscriptions (plan) VALUES ('theirs')").await;
    migrate(&mut connect(&database).await).await.unwrap();
    let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url()))).unwrap();
    let user = "00000000-0000-4000-8000-000000000001";
    let paid =
        Planned::new("evt_1", "x", 0).customer_user("cus_1", user).subscription("sub_1", "cus_1", "active", |_| {});
    assert_eq!(ledger.apply(&[paid.verdict()]).await.unwrap(), [Outcome::Applied]);
    assert_eq!(ledger.summary(1).await.unwrap().counts.not_shown, 1);
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT plan FROM public.subscriptions").fetch_all(&database.pool().await).await.unwrap();
    assert_eq!(rows, ["theirs"]);
}

#[tokio::test]
async fn a_file_that_fails_leaves_nothing_of_any() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE VIEW public.subscriptions AS SELECT 1 AS id").await;
    let error = migrate(&mut connect(&database).await).await.unwrap_err();
    assert!(error.message.contains("gateway_projections"), "{error}");
    assert_eq!(standings(&database).await, vec![Standing::Pending; ALL.len()]);
}

#[tokio::test]
async fn a_file_that_was_edited_after_it_ran_stops_the_next_run() {
    let database = Database::create(Flavour::Plain).await;
    migrate(&mut connect(&database).await).await.unwrap();
    database.run("UPDATE gateway.migrations SET checksum = 'other' WHERE version = 20260101000200").await;
    assert!(standings(&database).await.contains(&Standing::Edited));
    let error = migrate(&mut connect(&database).await).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema);
    assert!(error.message.contains("20260101000200_gateway_apply"), "{error}");
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
    migrate(&mut connect(&database).await).await.unwrap();
    ledger.check().await.unwrap();
    database.run("DELETE FROM gateway.migrations WHERE version = 20260101000400").await;
    let error = ledger.check().await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema);
    assert!(error.message.contains("20260101000400_gateway_reports"), "{error}");
    assert!(!error.message.contains("gateway_apply"), "{error}");
}

#[tokio::test]
async fn two_migrations_at_once_do_not_meet() {
    let database = Database::create(Flavour::Plain).await;
    let (mut one, mut other) = (connect(&database).await, connect(&database).await);
    let (one, other) = tokio::join!(migrate(&mut one), migrate(&mut other));
    assert_eq!(one.unwrap().len() + other.unwrap().len(), ALL.len());
}

#[tokio::test]
async fn only_the_service_role_may_call_the_functions_and_nobody_sees_the_schema() {
    let database = Database::create(Flavour::Supabase).await;
    migrate(&mut connect(&database).await).await.unwrap();
    let pool = database.pool().await;
    for (role, allowed) in [("anon", false), ("authenticated", false), ("service_role", true)] {
        for function in [
            "gateway_apply_batch(jsonb)",
            "gateway_check()",
            "gateway_summary(integer)",
            "gateway_subscriptions(integer)",
            "gateway_erase(jsonb)",
        ] {
            let statement = format!("SELECT has_function_privilege('{role}', 'public.{function}', 'EXECUTE')");
            let may: bool = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&pool).await.unwrap();
            assert_eq!(may, allowed, "{role} {function}");
        }
        let statement = format!("SELECT has_schema_privilege('{role}', 'gateway', 'USAGE')");
        let may: bool = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&pool).await.unwrap();
        assert!(!may, "{role}");
    }
    let unsafe_entries: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'gateway%'
         AND NOT (prosecdef AND proconfig @> '{\"search_path=\\\"\\\"\"}')",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(unsafe_entries, Vec::<String>::new(), "entries that run with the owner's rights have no search path");
}
