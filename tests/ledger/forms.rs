//! Public tables that change while the gateway runs: each batch writes them as they are then, on a connection that has written
//! them before.

use crate::plans::Planned;
use crate::postgres::Flavour;
use crate::stores::{Postgres, Store};

const USER: &str = "11111111-1111-4111-8111-111111111111";
const CREATOR: &str = "22222222-2222-4222-8222-222222222222";

/// A user's subscription, event by event.
struct Story {
    store: Postgres,
    seconds: i64,
}

impl Story {
    async fn of(flavour: Flavour) -> Self {
        Self { store: Postgres::direct(flavour).await, seconds: 0 }
    }

    /// Changes the tables, and then tells of the subscription in `status`.
    async fn then(&mut self, change: &str, status: &str) {
        self.store.database.run(change).await;
        self.seconds += 1;
        let event = Planned::new(&format!("evt_{}", self.seconds), "customer.subscription.updated", self.seconds)
            .subscription_user("sub_1", USER)
            .subscription("sub_1", "cus_1", status, |_| {});
        self.store.ledger().apply(&[event.verdict()]).await.unwrap();
    }

    async fn says(&self, question: &str) -> Option<String> {
        self.store.pool.values(question).await.unwrap().into_iter().next().flatten()
    }

    async fn status(&self) -> Option<String> {
        self.says("SELECT status::text FROM public.subscriptions WHERE stripe_subscription_id = 'sub_1'").await
    }

    /// Why the user waits.
    async fn fault(&self) -> Option<String> {
        self.says("SELECT fault FROM gateway.user_access").await
    }
}

#[tokio::test]
async fn a_table_whose_words_columns_and_triggers_change_is_written_as_it_is_then() {
    let mut story = Story::of(Flavour::Plain).await;
    story.then("SELECT 1", "active").await;
    assert_eq!(story.status().await.as_deref(), Some("active"));
    story.then("SELECT 1", "paused").await;
    assert_eq!(story.status().await.as_deref(), Some("paused"));
    let words = "ALTER TABLE public.subscriptions DROP CONSTRAINT subscriptions_status_check;
        UPDATE public.subscriptions SET status = 'cancelled';
        ALTER TABLE public.subscriptions ADD CHECK (status IN ('trialing', 'cancelled'))";
    story.then(words, "paused").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("cancelled"), None));
    let dropped = "ALTER TABLE public.subscriptions DROP COLUMN tier, DROP COLUMN canceled_at";
    story.then(dropped, "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("trialing"), None));
    let types = "ALTER TABLE public.subscriptions DROP CONSTRAINT subscriptions_status_check;
        CREATE TYPE public.state AS ENUM ('trialing', 'ended');
        ALTER TABLE public.subscriptions ALTER COLUMN status TYPE public.state USING status::public.state";
    story.then(types, "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("trialing"), None));
    story.then("ALTER TYPE public.state ADD VALUE 'active'", "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("active"), None));
    // Like triggers of the app, this one names its tables without their schema.
    let trigger = "CREATE TABLE public.counted (n int); INSERT INTO public.counted VALUES (0);
        ALTER TYPE public.state RENAME VALUE 'ended' TO 'expired';
        CREATE FUNCTION public.count() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE counted SET n = n + 1; RETURN NEW; END';
        CREATE TRIGGER count AFTER UPDATE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.count()";
    story.then(trigger, "incomplete_expired").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("expired"), None));
    assert_ne!(story.says("SELECT n::text FROM public.counted").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_table_that_comes_later_is_written_and_one_that_is_switched_off_is_not() {
    let mut story = Story::of(Flavour::Plain).await;
    let premium = "SELECT is_premium::text FROM public.user_profiles";
    story.then("SELECT 1", "active").await;
    let profiles = format!(
        "CREATE TABLE public.user_profiles (id text PRIMARY KEY, is_premium boolean, subscription_tier text);
         INSERT INTO public.user_profiles VALUES ('{USER}', false, NULL)"
    );
    story.then(&profiles, "active").await;
    assert_eq!(story.says(premium).await.as_deref(), Some("true"));
    let renamed = "ALTER TABLE public.user_profiles RENAME subscription_tier TO kind;
        ALTER TABLE public.user_profiles ADD plan text";
    story.then(renamed, "active").await;
    assert_eq!(story.says("SELECT plan FROM public.user_profiles").await.as_deref(), Some("premium"));
    story.then("UPDATE gateway.projections SET mode = 'off' WHERE name = 'user_profiles'", "paused").await;
    assert_eq!(story.says(premium).await.as_deref(), Some("true"), "it is off");
    let lacks = "UPDATE gateway.projections SET mode = 'on' WHERE name = 'user_profiles';
        ALTER TABLE public.user_profiles RENAME is_premium TO was_premium";
    story.then(lacks, "active").await;
    let fault = story.fault().await.unwrap();
    assert!(fault.contains("user_profiles lacks one of"), "{fault}");
    story.then("ALTER TABLE public.user_profiles RENAME was_premium TO is_premium", "canceled").await;
    assert_eq!((story.says(premium).await.as_deref(), story.fault().await), (Some("false"), None));
}

#[tokio::test]
async fn a_table_that_users_may_write_from_now_on_is_no_evidence_any_more() {
    let mut story = Story::of(Flavour::Supabase).await;
    let owned = "SELECT subscription_id FROM gateway.user_access";
    let of_a_creator = format!(
        "INSERT INTO public.subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
         VALUES ('{USER}', '{CREATOR}', 'active', 'sub_1')"
    );
    story.then(&of_a_creator, "active").await;
    assert_eq!(story.says(owned).await, None, "the subscription is a creator's");
    story.then("ALTER TABLE public.subscriptions DISABLE TRIGGER gateway_keep_stripe_ids", "active").await;
    assert_eq!(story.says(owned).await, None, "no policy lets users write");
    let policy = "CREATE POLICY users_do_anything ON public.subscriptions FOR ALL TO authenticated USING (true)";
    story.then(policy, "active").await;
    assert_eq!(story.says(owned).await.as_deref(), Some("sub_1"));
    story.then("REVOKE ALL ON public.subscriptions FROM anon, authenticated", "active").await;
    // A row that is the platform's by now is none of a creator's.
    assert_eq!(story.status().await.as_deref(), Some("active"));
}

#[tokio::test]
async fn rows_of_other_users_in_other_partitions_stay_as_they_are() {
    let mut story = Story::of(Flavour::Plain).await;
    let other = format!("SELECT status FROM public.subscriptions WHERE user_id = '{CREATOR}'");
    // The first row of each partition has the same place in it.
    let rows = |status: &str| {
        format!(
            "TRUNCATE public.subscriptions;
             INSERT INTO public.subscriptions VALUES ('{USER}', 'sub_1', '{status}'), ('{CREATOR}', 'sub_2', '{status}')"
        )
    };
    let table = "DROP TABLE public.subscriptions;
        CREATE TABLE public.subscriptions (user_id text NOT NULL, stripe_subscription_id text, status text NOT NULL)
            PARTITION BY RANGE (user_id);
        CREATE TABLE public.firsts PARTITION OF public.subscriptions FOR VALUES FROM (MINVALUE) TO ('2');
        CREATE TABLE public.seconds PARTITION OF public.subscriptions FOR VALUES FROM ('2') TO (MAXVALUE);";
    story.then(&format!("{table}{}", rows("canceled")), "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("active"), None));
    assert_eq!(story.says(&other).await.as_deref(), Some("canceled"), "access that the other user did not buy");
    story.then(&rows("active"), "canceled").await;
    assert_eq!(story.status().await.as_deref(), Some("canceled"));
    assert_eq!(story.says(&other).await.as_deref(), Some("active"), "access that the other user has paid for");
    // An id in a row of another user, beside one of a third.
    let taken = format!(
        "TRUNCATE public.subscriptions;
         INSERT INTO public.subscriptions VALUES ('1', 'sub_3', 'active'), ('{CREATOR}', 'sub_1', 'active')"
    );
    story.then(&taken, "active").await;
    assert_eq!(story.says(&other).await.as_deref(), Some("canceled"));
    let third = "SELECT stripe_subscription_id || ' ' || status FROM public.subscriptions WHERE user_id = '1'";
    assert_eq!(story.says(third).await.as_deref(), Some("sub_3 active"));
}

#[tokio::test]
async fn a_user_whose_row_a_trigger_or_policy_keeps_as_it_was_is_not_taken_for_shown() {
    let mut story = Story::of(Flavour::Plain).await;
    let premium = "SELECT is_premium::text FROM public.user_profiles";
    let keeps = format!(
        "CREATE TABLE public.user_profiles (id text PRIMARY KEY, is_premium boolean);
         INSERT INTO public.user_profiles VALUES ('{USER}', false);
         CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF current_user <> ''service_role'' THEN NEW.is_premium := OLD.is_premium; END IF; RETURN NEW; END';
         CREATE TRIGGER keep BEFORE UPDATE ON public.user_profiles FOR EACH ROW EXECUTE FUNCTION public.keep()"
    );
    story.then(&keeps, "active").await;
    assert_eq!(story.says(premium).await.as_deref(), Some("false"));
    assert!(story.fault().await.unwrap_or_default().starts_with("public.user_profiles keeps what it says"));
    story.then("DROP TRIGGER keep ON public.user_profiles", "active").await;
    assert_eq!((story.says(premium).await.as_deref(), story.fault().await), (Some("true"), None));

    let skips = "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER skip BEFORE INSERT OR UPDATE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.skip()";
    story.then(skips, "paused").await;
    assert_eq!(story.status().await.as_deref(), Some("active"));
    assert!(story.fault().await.unwrap_or_default().starts_with("public.subscriptions keeps what it says"));
    let by_user = format!(
        "DROP TABLE public.subscriptions;
         CREATE TABLE public.subscriptions (user_id text NOT NULL, stripe_subscription_id text, status text NOT NULL);
         INSERT INTO public.subscriptions VALUES ('{USER}', 'sub_1', 'active');
         CREATE TRIGGER skip BEFORE INSERT OR UPDATE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.skip()"
    );
    story.then(&by_user, "paused").await;
    assert!(story.fault().await.unwrap_or_default().starts_with("public.subscriptions keeps what it says"));
    let rows = "DROP TRIGGER skip ON public.subscriptions;
        CREATE TABLE public.subscription_tiers (
            stripe_subscription_id text PRIMARY KEY, user_id text, tier_name text, status text);
        CREATE TRIGGER skip BEFORE INSERT ON public.subscription_tiers FOR EACH ROW EXECUTE FUNCTION public.skip()";
    story.then(rows, "active").await;
    assert_eq!(story.status().await.as_deref(), Some("active"));
    assert!(story.fault().await.unwrap_or_default().starts_with("public.subscription_tiers keeps what it says"));
    story.then("DROP TRIGGER skip ON public.subscription_tiers", "active").await;
    assert_eq!(story.fault().await, None);
}

#[tokio::test]
async fn a_trigger_that_breaks_keeps_no_event_from_the_truth() {
    for broken in ["RAISE EXCEPTION ''no such host'' USING ERRCODE = ''XX000''", "ASSERT false"] {
        let mut story = Story::of(Flavour::Plain).await;
        let trigger = format!(
            "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {broken}; END';
             CREATE TRIGGER tell BEFORE INSERT ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION public.tell()"
        );
        story.then(&trigger, "active").await;
        let fault = story.fault().await.unwrap();
        assert!(fault.contains("a trigger or column of the public tables"), "{fault}");
        let truth = "SELECT status FROM gateway.stripe_subscriptions";
        assert_eq!(story.says(truth).await.as_deref(), Some("active"));
    }
}

#[tokio::test]
async fn a_status_of_a_domain_gets_a_word_that_the_domain_takes() {
    let mut story = Story::of(Flavour::Plain).await;
    let table = "DROP TABLE public.subscriptions;
        CREATE DOMAIN public.state AS text CHECK (VALUE IN ('active', 'cancelled'));
        CREATE TABLE public.subscriptions (user_id text NOT NULL, stripe_subscription_id text, status public.state)";
    story.then(table, "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("active"), None));
    story.then("SELECT 1", "canceled").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("cancelled"), None));
}

#[tokio::test]
async fn a_lock_that_the_form_met_is_forgotten_once_it_is_gone() {
    let mut story = Story::of(Flavour::Plain).await;
    let looks_up = "CREATE TABLE public.words AS SELECT unnest(ARRAY['active', 'canceled']) AS word;
        CREATE FUNCTION public.is_word(said text) RETURNS boolean LANGUAGE sql AS
            'SELECT EXISTS (SELECT FROM public.words WHERE word = said)';
        ALTER TABLE public.subscriptions DROP CONSTRAINT subscriptions_status_check;
        ALTER TABLE public.subscriptions ADD CHECK (public.is_word(status))";
    story.store.database.run(looks_up).await;
    let mut holder = story.store.database.session().await;
    holder.execute("BEGIN; LOCK TABLE public.words").await.unwrap();
    story.then("SELECT 1", "active").await;
    assert_eq!(story.fault().await.as_deref(), Some("a public table was locked"));
    holder.execute("ROLLBACK").await.unwrap();
    story.then("SELECT 1", "active").await;
    assert_eq!((story.status().await.as_deref(), story.fault().await), (Some("active"), None));
}

#[tokio::test]
async fn a_tier_that_is_made_for_a_catalogue_has_its_price_in_the_units_of_its_currency() {
    for (currency, amount, price) in [("jpy", 1500, "1500"), ("kwd", 12_500, "12.5"), ("eur", 999, "9.99")] {
        let store = Postgres::direct(Flavour::Plain).await;
        let catalogue = "DROP TABLE public.subscriptions;
            CREATE TABLE public.subscription_tiers (
                id uuid PRIMARY KEY DEFAULT gen_random_uuid(), creator_id uuid, name text, price numeric, currency text);
            CREATE TABLE public.subscriptions (
                subscriber_id uuid, creator_id uuid, tier_id uuid, status text, stripe_subscription_id text)";
        store.database.run(catalogue).await;
        let paid = Planned::new("evt_1", "customer.subscription.updated", 1)
            .subscription_user("sub_1", USER)
            .subscription("sub_1", "cus_1", "active", |row| {
                row.tier = Some("gold".to_owned());
                (row.currency, row.unit_amount) = (Some(currency.to_owned()), Some(amount));
            });
        store.ledger().apply(&[paid.verdict()]).await.unwrap();
        let made = "SELECT trim_scale(price)::text FROM public.subscription_tiers";
        assert_eq!(store.pool.value::<String>(made).await.unwrap(), price, "{currency}");
    }
}
