//! The tables that users of the predecessor have, in their four generations, as far as payments touch them.
//!
//! Written from the column lists, constraints, triggers and policies of those tables; only what a payment, a reader of
//! a payment, or a migration meets is here.

/// A generation of the predecessor's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// A catalogue of creators' tiers, subscriptions that point to it, and counters that a trigger keeps.
    First,
    /// One row per Stripe subscription, flags in profiles, and no table of subscriptions.
    Second,
    /// One row per Stripe subscription, and fans' subscriptions to creators, none of which concern the platform.
    Third,
    /// Subscriptions that belong to a `user_id`, several per user, with Stripe's own statuses.
    Fourth,
}

impl Generation {
    /// Every generation.
    pub const ALL: [Self; 4] = [Self::First, Self::Second, Self::Third, Self::Fourth];

    /// The script that makes the tables.
    pub fn tables(self) -> String {
        match self {
            Self::First => FIRST.to_owned(),
            Self::Second => SECOND.to_owned(),
            Self::Third => format!("{SECOND}{THIRD}"),
            Self::Fourth => FOURTH.to_owned(),
        }
    }

    /// Whether `public.subscriptions` says what users have subscribed to on the platform.
    pub fn has_platform_rows(self) -> bool {
        self != Self::Third
    }

    /// Whether a row of `subscription_tiers` stands for a Stripe subscription.
    pub fn has_tier_rows(self) -> bool {
        matches!(self, Self::Second | Self::Third)
    }

    /// The statement with which the predecessor makes its row in `subscriptions`; `None` if it has no such rows.
    pub fn row(self, user: &str, id: &str, status: &str) -> Option<String> {
        match self {
            Self::First => Some(format!(
                "INSERT INTO public.subscriptions (subscriber_id, creator_id, status, stripe_subscription_id)
                 VALUES ('{user}', '{user}', '{status}', '{id}');"
            )),
            Self::Fourth => Some(format!(
                "INSERT INTO public.subscriptions (user_id, status, stripe_subscription_id)
                 VALUES ('{user}', '{status}', '{id}');"
            )),
            Self::Second | Self::Third => None,
        }
    }

    /// The statement that makes a user who has signed up.
    pub fn user(self, id: &str) -> String {
        let name = id.chars().rev().take(8).collect::<String>();
        let auth = format!("INSERT INTO auth.users (id) VALUES ('{id}');");
        match self {
            Self::First => format!(
                "{auth} INSERT INTO public.users (id) VALUES ('{id}');
                 INSERT INTO public.user_profiles (id, username) VALUES ('{id}', '{name}');"
            ),
            Self::Second | Self::Third | Self::Fourth => {
                format!("{auth} INSERT INTO public.user_profiles (id, username) VALUES ('{id}', '{name}');")
            }
        }
    }
}

const FIRST: &str = "
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    is_creator boolean DEFAULT false,
    total_subscribers int DEFAULT 0,
    stripe_customer_id text
);
CREATE TABLE user_profiles (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    is_premium boolean DEFAULT false,
    subscription_tier text,
    stripe_customer_id text
);
ALTER TABLE user_profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY profiles_read ON user_profiles FOR SELECT TO authenticated USING (auth.uid() = id);
CREATE POLICY profiles_update ON user_profiles FOR UPDATE TO authenticated USING (auth.uid() = id);
CREATE FUNCTION keep_flags() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.is_premium IS DISTINCT FROM NEW.is_premium THEN
        RAISE EXCEPTION 'is_premium belongs to the service role';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_flags BEFORE UPDATE ON user_profiles
    FOR EACH ROW WHEN (auth.role() = 'authenticated') EXECUTE FUNCTION keep_flags();

CREATE TABLE subscription_tiers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    creator_id uuid REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL,
    name_fr text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price >= 4.99),
    currency text DEFAULT 'CAD',
    benefits jsonb DEFAULT '[]',
    is_active boolean DEFAULT true,
    subscriber_count int DEFAULT 0,
    UNIQUE (creator_id, name)
);
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subscriber_id uuid REFERENCES users (id) ON DELETE CASCADE,
    creator_id uuid REFERENCES users (id) ON DELETE CASCADE,
    tier_id uuid REFERENCES subscription_tiers (id) ON DELETE CASCADE,
    status text NOT NULL CHECK (status IN ('active', 'canceled', 'past_due', 'paused', 'expired')),
    stripe_subscription_id text UNIQUE,
    stripe_customer_id text,
    current_period_start timestamptz,
    current_period_end timestamptz,
    canceled_at timestamptz,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (subscriber_id, creator_id)
);
-- Like the trigger it stands for, this one names its tables without their schema.
CREATE FUNCTION count_subscribers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    step int := (NEW.status = 'active')::int - coalesce((TG_OP = 'UPDATE' AND OLD.status = 'active')::int, 0);
BEGIN
    UPDATE subscription_tiers SET subscriber_count = subscriber_count + step WHERE id = NEW.tier_id;
    UPDATE users SET total_subscribers = total_subscribers + step WHERE id = NEW.creator_id;
    RETURN NEW;
END $$;
CREATE TRIGGER count_subscribers AFTER INSERT OR UPDATE ON subscriptions
    FOR EACH ROW EXECUTE FUNCTION count_subscribers();
ALTER TABLE subscription_tiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tiers_read ON subscription_tiers FOR SELECT USING (is_active);
CREATE POLICY subscriptions_read ON subscriptions FOR SELECT
    USING (subscriber_id = auth.uid() OR creator_id = auth.uid());
CREATE POLICY anyone_does_anything ON subscriptions FOR ALL USING (true);
";

const FOURTH: &str = "
CREATE TABLE user_profiles (
    id uuid PRIMARY KEY,
    username text NOT NULL,
    is_premium boolean DEFAULT false,
    subscription_tier text,
    stripe_customer_id text
);
ALTER TABLE user_profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY profiles_read ON user_profiles FOR SELECT USING (true);
CREATE POLICY profiles_update ON user_profiles FOR UPDATE USING (auth.uid() = id);
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    stripe_customer_id text,
    stripe_subscription_id text UNIQUE,
    status text NOT NULL CHECK (status IN
        ('active', 'trialing', 'past_due', 'canceled', 'incomplete', 'incomplete_expired', 'unpaid')),
    current_period_end timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subscriptions_user ON subscriptions (user_id);
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY subscriptions_read ON subscriptions FOR SELECT USING (auth.uid() = user_id);
CREATE POLICY subscriptions_update ON subscriptions FOR UPDATE USING (auth.uid() = user_id);
CREATE POLICY subscriptions_service ON subscriptions FOR ALL USING (auth.role() = 'service_role');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION touch();
";

const SECOND: &str = "
CREATE TABLE user_profiles (
    id uuid PRIMARY KEY,
    username varchar(50) NOT NULL UNIQUE,
    is_premium boolean DEFAULT false,
    plan text DEFAULT 'free',
    subscription_tier varchar(20) DEFAULT 'free',
    updated_at timestamp DEFAULT now()
);
ALTER TABLE user_profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY profiles_read ON user_profiles FOR SELECT USING (true);
CREATE POLICY profiles_own ON user_profiles FOR ALL TO authenticated USING (auth.uid() = id) WITH CHECK (auth.uid() = id);
CREATE TABLE subscription_tiers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    stripe_subscription_id text UNIQUE NOT NULL,
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    tier_name text NOT NULL DEFAULT 'premium',
    status text NOT NULL,
    current_period_start timestamptz NOT NULL,
    current_period_end timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON subscription_tiers FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE subscription_tiers ENABLE ROW LEVEL SECURITY;
CREATE POLICY tiers_read ON subscription_tiers FOR SELECT USING (auth.uid() = user_id);
CREATE TABLE colony_tasks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    command text NOT NULL,
    status text DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    metadata jsonb DEFAULT '{}'
);
";

const THIRD: &str = "
CREATE TABLE subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subscriber_id uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    creator_id uuid NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    tier_id text,
    status text NOT NULL DEFAULT 'active',
    stripe_subscription_id text,
    current_period_start timestamptz,
    current_period_end timestamptz,
    canceled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (subscriber_id, creator_id)
);
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY subscriptions_read ON subscriptions FOR SELECT
    USING (auth.uid() = subscriber_id OR auth.uid() = creator_id);
CREATE POLICY subscriptions_manage ON subscriptions FOR ALL USING (auth.uid() = subscriber_id);
";
