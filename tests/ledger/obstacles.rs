//! Public tables in which one user's row is refused or locked, or which no one can read for a while: the truth is written, and
//! everybody else is shown.

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::{migrate, migrate_in_shadow, plan};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports as _;
use colony_gateway::ledger::shadow::Shadow as _;
use colony_gateway::ledger::{Ledger as _, LedgerErrorKind, Outcome};
use colony_gateway::revenue::verdict::Verdict;

use crate::generations::Generation;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};
use crate::stores::{Postgres, Store as _};

/// Subscription `number` of this user, told at this second.
fn told(number: usize, user: &str, seconds: i64, status: &str) -> Verdict {
    let id = format!("sub_{number}");
    Planned::new(&format!("evt_{number}_{seconds}"), "customer.subscription.updated", seconds)
        .subscription_user(&id, user)
        .subscription(&id, &format!("cus_{number}"), status, |_| {})
        .verdict()
}

fn user(number: usize) -> String {
    format!("11111111-1111-4111-8111-{number:012}")
}

struct Site(Postgres);

impl Site {
    async fn of(change: &str) -> Self {
        let store = Postgres::direct(Flavour::Plain).await;
        store.database.run(change).await;
        Self(store)
    }

    /// Tells of a subscription of each user, in one batch.
    async fn tell(&self, users: &[&str], seconds: i64, status: &str) {
        let batch: Vec<Verdict> = (1..).zip(users).map(|(number, user)| told(number, user, seconds, status)).collect();
        assert_eq!(self.0.ledger().apply(&batch).await.unwrap(), vec![Outcome::Applied; users.len()]);
        let truth = format!("SELECT count(*) FROM gateway.stripe_subscriptions WHERE status = '{status}'");
        assert_eq!(self.0.pool.value::<i64>(truth).await.unwrap(), i64::try_from(users.len()).unwrap());
    }

    /// Each user with the status in the table, or why the user waits.
    async fn says(&self) -> Vec<(String, String)> {
        let question = "SELECT a.user_id::text, coalesce(a.fault, (
                SELECT coalesce(string_agg(t.status::text, ' '), 'nothing') FROM public.subscriptions t
                WHERE t.user_id::text = a.user_id AND t.stripe_subscription_id = a.subscription_id))
            FROM gateway.user_access a ORDER BY 1";
        self.0.pool.tuples(question).await.unwrap()
    }

    async fn change(&self, sql: &str) {
        self.0.database.run(sql).await;
    }

    /// What waits is due.
    async fn pass_a_day(&self) {
        self.change(
            "UPDATE gateway.user_access SET retry_at = now() WHERE NOT shown;
             UPDATE gateway.stripe_subscriptions SET recheck_at = now() WHERE recheck_at IS NOT NULL",
        )
        .await;
        self.0.ledger().upkeep().await.unwrap();
    }
}

const LOCKED: &str = "a public table was locked";

fn line(user: &str, says: &str) -> (String, String) {
    (user.to_owned(), says.to_owned())
}

#[tokio::test]
async fn a_row_that_the_app_has_locked_holds_up_its_own_user_alone() {
    let users: Vec<String> = (1..=9).map(user).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let site = Site::of("SELECT 1").await;
    site.tell(&users, 1, "active").await;
    let mut holder = site.0.database.session().await;
    let lock = format!("BEGIN; SELECT FROM public.subscriptions WHERE user_id = '{}' FOR UPDATE", users[0]);
    holder.execute(lock).await.unwrap();
    site.tell(&users, 2, "paused").await;
    let others = users[1..].iter().map(|user| line(user, "paused"));
    let expected: Vec<_> = std::iter::once(line(users[0], LOCKED)).chain(others).collect();
    assert_eq!(site.says().await, expected);
    holder.execute("ROLLBACK").await.unwrap();
    site.pass_a_day().await;
    assert_eq!(site.says().await[0], line(users[0], "paused"));
}

#[tokio::test]
async fn a_trigger_that_does_not_wait_or_gives_up_holds_up_its_own_user_alone() {
    let (one, other) = (user(1), user(2));
    for (code, told) in [
        ("55P03", LOCKED),
        ("40P01", LOCKED),
        ("40001", "refused with 40001: a trigger or column of the public tables"),
    ] {
        let site = Site::of(&format!(
            "CREATE FUNCTION public.busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.user_id = '{one}' THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END IF;
                 RETURN NEW; END $$;
             CREATE TRIGGER busy BEFORE INSERT OR UPDATE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.busy()"
        ))
        .await;
        for (seconds, status) in [(1, "active"), (2, "paused")] {
            site.tell(&[&one, &other], seconds, status).await;
            assert_eq!(site.says().await, [line(&one, told), line(&other, status)], "{code}");
        }
    }
}

#[tokio::test]
async fn a_table_that_is_locked_as_a_whole_keeps_no_event_from_the_truth() {
    let users = [user(1), user(2)];
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let site = Site::of("SELECT 1").await;
    site.tell(&users[..1], 1, "active").await;
    let mut holder = site.0.database.session().await;
    holder.execute("BEGIN; LOCK TABLE public.subscriptions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    site.tell(&users, 2, "paused").await;
    holder.execute("ROLLBACK").await.unwrap();
    assert_eq!(site.says().await, [line(users[0], LOCKED)]);
    site.pass_a_day().await;
    assert_eq!(site.says().await, [line(users[0], "paused"), line(users[1], "paused")]);
}

#[tokio::test]
async fn tables_that_cannot_be_compared_keep_no_event_from_the_truth() {
    let one = user(1);
    let site = Site::of(
        "DROP TABLE public.subscriptions;
         CREATE TABLE public.subscriptions (subscriber_id text, creator_id bigint, status text, stripe_subscription_id text)",
    )
    .await;
    site.tell(&[&one], 1, "active").await;
    let fault = "SELECT fault FROM gateway.user_access";
    let fault: Vec<Option<String>> = site.0.pool.values(fault).await.unwrap();
    assert_eq!(fault, [Some("refused with 42883: a trigger or column of the public tables".to_owned())]);
}

#[tokio::test]
async fn in_shadow_mode_a_locked_table_whose_use_is_unknown_keeps_no_event_from_the_truth() {
    let database = Database::create(Flavour::Supabase).await;
    database.run(&Generation::Third.tables()).await;
    let mut session = database.session().await;
    migrate_in_shadow(&mut session).await.unwrap();
    let config = PostgresConfig { shadow: true, ..PostgresConfig::new(Secret::new(database.url())) };
    let shadow = PostgresLedger::new(&config).unwrap();
    session.execute("BEGIN; LOCK TABLE public.subscriptions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(shadow.apply(&[told(1, &user(1), 1, "active")]).await.unwrap(), [Outcome::Applied]);
    session.execute("COMMIT").await.unwrap();
    let truth = "SELECT status FROM gateway.stripe_subscriptions";
    assert_eq!(session.value::<String>(truth).await.unwrap(), "active");
}

#[tokio::test]
async fn a_question_about_a_locked_table_waits_in_the_database_no_longer_than_its_asker() {
    let database = Database::create(Flavour::Supabase).await;
    database.run(&Generation::Third.tables()).await;
    let mut session = database.session().await;
    migrate_in_shadow(&mut session).await.unwrap();
    let config = PostgresConfig { shadow: true, ..PostgresConfig::new(Secret::new(database.url())) };
    let shadow = PostgresLedger::new(&config).unwrap();
    session.execute("BEGIN; LOCK TABLE public.subscriptions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(shadow.attention(1).await.unwrap_err().kind, LedgerErrorKind::Overload);
    assert_eq!(shadow.shadow_report(1).await.unwrap_err().kind, LedgerErrorKind::Overload);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    assert_eq!(session.value::<i64>(waits).await.unwrap(), 0);
}

#[tokio::test]
async fn ids_of_users_fit_every_type_that_can_hold_them_and_no_other() {
    const UNFIT: &str = "the user's id does not fit the type of the public tables";
    const LONG: &str = "refused with 22001: a trigger or column of the public tables";
    let text = ["abcdefgh", "abcdefghij"];
    for (made, kind, users, last) in [
        ("SELECT 1", "smallint", ["32767", "32768"], UNFIT),
        ("SELECT 1", "integer", ["2147483647", "2147483648"], UNFIT),
        ("SELECT 1", "bigint", ["9223372036854775807", "9223372036854775808"], UNFIT),
        ("SELECT 1", "numeric", ["12345678901234567890", "x"], UNFIT),
        ("SELECT 1", "varchar(8)", text, LONG),
        ("SELECT 1", "char(8)", text, LONG),
        ("CREATE DOMAIN public.uid AS varchar(8)", "public.uid", text, LONG),
        ("CREATE DOMAIN public.id AS bigint; CREATE DOMAIN public.uid AS public.id", "public.uid", ["1", "x"], UNFIT),
        (
            "CREATE DOMAIN public.uid AS text CHECK (VALUE ~ '^.{8}$')",
            "public.uid",
            text,
            "refused with 23514: a constraint of the public tables",
        ),
        ("CREATE EXTENSION citext", "citext", ["abcdefgh", "abc"], "active"),
    ] {
        let users: Vec<&str> = users.to_vec();
        for columns in ["user_id {} NOT NULL", "user_id {}, subscriber_id {}, creator_id {}"] {
            let columns = columns.replace("{}", kind);
            let site = Site::of(&format!(
                "{made}; DROP TABLE public.subscriptions;
                 CREATE TABLE public.subscriptions ({columns}, stripe_subscription_id text, status text NOT NULL);
                 CREATE TABLE public.user_profiles (id {kind} PRIMARY KEY, is_premium boolean);
                 INSERT INTO public.user_profiles VALUES ('{}', false)",
                users[0]
            ))
            .await;
            site.tell(&users, 1, "active").await;
            let found = site.says().await;
            let mut expected = [line(users[0], "active"), line(users[1], last)];
            if last == "active" {
                expected[1].1 = "the user has no row in public.user_profiles yet".to_owned();
            }
            expected.sort();
            assert_eq!(found, expected, "{kind}: {columns}");
            let premium = "SELECT count(*) FROM public.user_profiles WHERE is_premium";
            assert_eq!(site.0.pool.value::<i64>(premium).await.unwrap(), 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_new_table_takes_the_length_of_ids_from_the_old_one() {
    let database = Database::create(Flavour::Plain).await;
    database.run("CREATE TABLE public.users (id char(36) PRIMARY KEY)").await;
    let mut session = database.session().await;
    migrate(&mut session).await.unwrap();
    let kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                WHERE attrelid = 'public.subscriptions'::regclass AND attname = 'user_id'";
    assert_eq!(session.value::<String>(kind).await.unwrap(), "character(36)");
    assert!(plan(&mut session, false).await.unwrap().left.is_empty());
}
