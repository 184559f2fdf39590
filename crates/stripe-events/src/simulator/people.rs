//! The invented customers of the simulated shop. All names are made up and all addresses end in `example.com`.

use super::catalogue::Currency;
use super::ids;

const FIRST_NAMES: [&str; 16] = [
    "Amara", "Björn", "Chloé", "Dmitri", "Emi", "Farid", "Grace", "Hiro", "Inés", "Jamal", "Khadija", "Liam", "Mei",
    "Noor", "Olu", "Priya",
];
const LAST_NAMES: [&str; 16] = [
    "Abara", "Berg", "Côté", "Diallo", "Eriksen", "Fontaine", "Goldberg", "Haddad", "Ito", "Jensen", "Kaur", "López",
    "Müller", "Nakamura", "O'Neill", "Petrov",
];
const CARDS: [(&str, &str); 4] = [("visa", "4242"), ("mastercard", "4444"), ("amex", "0005"), ("visa", "1881")];

/// Where a customer's events name the user they belong to. Real integrations differ, so every way occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// Only in `client_reference_id` of the checkout session.
    ClientReference,
    /// Only in `metadata.userId` of the checkout session.
    SessionMetadata,
    /// Only in `metadata.user_id` of the checkout session.
    SnakeCaseMetadata,
    /// Only in `metadata.userId` of the subscription.
    SubscriptionMetadata,
    /// In customer, session and subscription.
    Everywhere,
}

impl Binding {
    fn draw(random: &mut fastrand::Rng) -> Self {
        match random.u32(..100) {
            0..30 => Self::ClientReference,
            30..45 => Self::SessionMetadata,
            45..55 => Self::SnakeCaseMetadata,
            55..75 => Self::SubscriptionMetadata,
            _ => Self::Everywhere,
        }
    }

    /// Whether the customer object names the user.
    pub(super) fn on_customer(self) -> bool {
        self == Self::Everywhere
    }

    /// Whether the checkout session names the user.
    pub(super) fn on_session(self) -> bool {
        self != Self::SubscriptionMetadata
    }

    /// Whether the subscription names the user.
    pub(super) fn on_subscription(self) -> bool {
        matches!(self, Self::SubscriptionMetadata | Self::Everywhere)
    }
}

/// One customer: the facts that do not change over their life.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) user_id: String,
    pub(super) customer_id: String,
    pub(super) payment_method: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) invoice_prefix: String,
    pub(super) currency: Currency,
    pub(super) card: (&'static str, &'static str),
    pub(super) binding: Binding,
    /// Whether metadata carries the tier. Otherwise only the price shows it.
    pub(super) names_tier: bool,
    pub(super) joined: i64,
}

impl Person {
    /// Draws a customer who joins at `joined`, in seconds.
    pub(super) fn draw(ids: &ids::Ids, joined: i64, random: &mut fastrand::Rng) -> Self {
        let first = FIRST_NAMES[random.usize(..FIRST_NAMES.len())];
        let last = LAST_NAMES[random.usize(..LAST_NAMES.len())];
        Self {
            user_id: ids::uuid(random),
            customer_id: ids::drawn("cus", 14, random),
            payment_method: ids.dated("pm", joined, random),
            name: format!("{first} {last}"),
            email: format!("user{:08}@example.com", random.u32(..100_000_000)),
            invoice_prefix: format!("{:08X}", random.u32(..)),
            currency: Currency::draw(random),
            card: CARDS[random.usize(..CARDS.len())],
            binding: Binding::draw(random),
            names_tier: random.u32(..100) < 60,
            joined,
        }
    }
}
