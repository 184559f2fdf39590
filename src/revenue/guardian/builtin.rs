//! The built-in rules: their names, and what they do unless the operator says otherwise.

use crate::revenue::rows::{Action, Severity};

/// A built-in rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinRule {
    /// The event holds the object that its type promises.
    Structure,
    /// Identifiers are plain text; the event's begins with `evt_`.
    IdForm,
    /// Identifiers of objects begin with the prefix of their kind.
    IdPrefix,
    /// The event and its object are of the expected mode.
    Livemode,
    /// The event is of an allowed account.
    Account,
    /// The event is neither from the future nor very old.
    EventAge,
    /// Metadata names the tier that the price buys.
    PriceTier,
    /// The price is known.
    PriceUnknown,
    /// Metadata that should name a user does name one.
    UserForm,
    /// Amounts are whole and not negative.
    AmountForm,
    /// Amounts are not above the largest expected.
    AmountMax,
    /// Currencies are codes.
    CurrencyForm,
    /// Currencies are expected ones.
    Currency,
    /// The event is neither too large nor too deep.
    Size,
    /// Metadata does not look like SQL.
    InjectionSql,
    /// Metadata does not climb out of directories.
    InjectionPath,
    /// Metadata does not look like script.
    InjectionScript,
}

/// All built-in rules, in the order they are asked.
pub const BUILTIN_RULES: [BuiltinRule; 17] = [
    BuiltinRule::Structure,
    BuiltinRule::IdForm,
    BuiltinRule::IdPrefix,
    BuiltinRule::Livemode,
    BuiltinRule::Account,
    BuiltinRule::EventAge,
    BuiltinRule::PriceTier,
    BuiltinRule::PriceUnknown,
    BuiltinRule::UserForm,
    BuiltinRule::AmountForm,
    BuiltinRule::AmountMax,
    BuiltinRule::CurrencyForm,
    BuiltinRule::Currency,
    BuiltinRule::Size,
    BuiltinRule::InjectionSql,
    BuiltinRule::InjectionPath,
    BuiltinRule::InjectionScript,
];

impl BuiltinRule {
    /// Identifier in files, decisions and metrics.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::IdForm => "id_form",
            Self::IdPrefix => "id_prefix",
            Self::Livemode => "livemode",
            Self::Account => "account",
            Self::EventAge => "event_age",
            Self::PriceTier => "price_tier",
            Self::PriceUnknown => "price_unknown",
            Self::UserForm => "user_form",
            Self::AmountForm => "amount_form",
            Self::AmountMax => "amount_max",
            Self::CurrencyForm => "currency_form",
            Self::Currency => "currency",
            Self::Size => "size",
            Self::InjectionSql => "injection_sql",
            Self::InjectionPath => "injection_path",
            Self::InjectionScript => "injection_script",
        }
    }

    /// What it checks, for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Structure => "the event holds the object that its type promises",
            Self::IdForm => "identifiers are plain text, and the event's begins with evt_",
            Self::IdPrefix => "identifiers of objects begin as those of their kind do",
            Self::Livemode => "the event is of the expected mode, and so is its object",
            Self::Account => "the event is of an allowed account",
            Self::EventAge => "the event is neither from the future nor very old",
            Self::PriceTier => "metadata names the tier that the price buys",
            Self::PriceUnknown => "the price is known",
            Self::UserForm => "metadata that names a user names one",
            Self::AmountForm => "amounts are whole and not negative",
            Self::AmountMax => "amounts are not above the largest expected",
            Self::CurrencyForm => "currencies are codes",
            Self::Currency => "currencies are expected ones",
            Self::Size => "the event is neither too large nor too deep",
            Self::InjectionSql => "metadata does not look like SQL",
            Self::InjectionPath => "metadata does not climb out of directories",
            Self::InjectionScript => "metadata does not look like script",
        }
    }

    /// The rule with this identifier.
    pub fn named(id: &str) -> Option<Self> {
        BUILTIN_RULES.into_iter().find(|rule| rule.id() == id)
    }

    /// Its action unless the file says otherwise. Rules that a real payment could trip over only flag: ordinary texts look
    /// like attacks often enough, and the gateway only ever passes text as a parameter.
    pub const fn action(self) -> Action {
        match self {
            Self::Structure
            | Self::IdForm
            | Self::Livemode
            | Self::Account
            | Self::AmountForm
            | Self::CurrencyForm
            | Self::Size => Action::Quarantine,
            Self::IdPrefix
            | Self::EventAge
            | Self::PriceTier
            | Self::PriceUnknown
            | Self::UserForm
            | Self::AmountMax
            | Self::Currency
            | Self::InjectionSql
            | Self::InjectionPath
            | Self::InjectionScript => Action::Flag,
        }
    }

    /// Whether the rule is about the origin: it finds events that are foreign or cannot be understood. Nothing of such an
    /// event is applied. All other rules, including the operator's own, are about content: the facts of an event that they
    /// hold are written, and only what the event would grant is withheld.
    pub const fn is_about_origin(self) -> bool {
        match self {
            Self::Structure | Self::IdForm | Self::Livemode | Self::Account | Self::AmountForm => true,
            Self::IdPrefix
            | Self::EventAge
            | Self::PriceTier
            | Self::PriceUnknown
            | Self::UserForm
            | Self::AmountMax
            | Self::CurrencyForm
            | Self::Currency
            | Self::Size
            | Self::InjectionSql
            | Self::InjectionPath
            | Self::InjectionScript => false,
        }
    }

    /// Its severity unless the file says otherwise.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Structure | Self::IdForm | Self::Livemode | Self::Account | Self::AmountForm | Self::CurrencyForm => {
                Severity::Critical
            }
            Self::PriceTier
            | Self::PriceUnknown
            | Self::UserForm
            | Self::AmountMax
            | Self::Currency
            | Self::Size
            | Self::InjectionSql
            | Self::InjectionPath
            | Self::InjectionScript => Severity::Warning,
            Self::IdPrefix | Self::EventAge => Severity::Info,
        }
    }

    /// Names of its settings besides action and severity.
    pub(super) const fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Livemode => &["expect"],
            Self::Account | Self::Currency => &["allowed"],
            Self::EventAge => &["past_days", "future_seconds"],
            Self::AmountMax => &["max", "max_by_currency"],
            Self::Size => &["bytes", "depth"],
            Self::Structure
            | Self::IdForm
            | Self::IdPrefix
            | Self::PriceTier
            | Self::PriceUnknown
            | Self::UserForm
            | Self::AmountForm
            | Self::CurrencyForm
            | Self::InjectionSql
            | Self::InjectionPath
            | Self::InjectionScript => &[],
        }
    }
}
