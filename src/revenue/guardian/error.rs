//! Why a file of rules is refused.

use super::builtin::{BUILTIN_RULES, BuiltinRule};

/// Longest text of rules, in bytes.
pub const RULES_BYTES_MAX: usize = 1024 * 1024;

/// Most rules in one file.
pub const CUSTOM_RULES_MAX: usize = 200;

/// Why a set of rules was refused. The rules in force stay.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file cannot be read.
    #[error("rules file {path} cannot be read")]
    Read {
        /// The file's path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file with a mistake in it.
    #[error("rules file {path}{}: {mistake}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    File {
        path: String,
        /// The line of the mistake, from 1; `None` if it is not in one line.
        line: Option<usize>,
        mistake: Box<Self>,
    },
    /// Not TOML, or not of the form of rules.
    #[error("the rules cannot be understood: {problem}")]
    Form {
        /// The mistake, in the words of the file.
        problem: String,
        /// Its place, in bytes.
        place: Option<usize>,
    },
    /// No built-in rule has this name.
    #[error("there is no built-in rule `{0}`; there are {known}", known = known_rules())]
    UnknownBuiltin(String),
    /// A setting that the built-in rule does not have.
    #[error("built-in rule `{rule}` has no setting `{setting}`")]
    Setting { rule: String, setting: &'static str },
    /// A bound that makes no sense.
    #[error("built-in rule `{rule}`: {problem}")]
    Bound {
        rule: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An identifier that is empty, already used, or not made of letters, digits, `_` and `-`.
    #[error("rule id `{0}` is taken or not 1 to 64 letters, digits, `_` or `-`")]
    Id(String),
    /// A text that is too long to be read.
    #[error("the rules are longer than {RULES_BYTES_MAX} bytes")]
    TooLong,
    /// More rules than the Guardian checks for each event.
    #[error("{0} rules; at most {CUSTOM_RULES_MAX} are allowed")]
    TooMany(usize),
    /// A condition that cannot be checked.
    #[error("rule `{rule}`: {problem}")]
    Condition {
        rule: String,
        /// What is wrong.
        problem: String,
    },
    /// A pattern that is not a regular expression, or too large.
    #[error("rule `{rule}`: the pattern cannot be used")]
    Pattern {
        rule: String,
        /// Why.
        #[source]
        source: Box<regex::Error>,
    },
    /// A rule that would hold for every event.
    #[error("rule `{0}` has no conditions: write at least one under `all`")]
    Unconditional(String),
    /// `exempts` on a rule that does not allow, or that names no rule.
    #[error("rule `{rule}`: `exempts` needs action `allow` and names of rules, not `{name}`")]
    Exempts {
        rule: String,
        /// What it would exempt from.
        name: String,
    },
}

impl RulesError {
    /// An error about the form of a text.
    pub(super) fn of_form(error: &toml::de::Error, text: &str) -> Self {
        let place = error.span().map(|span| span.start);
        let message = error.message();
        let problem = place.and_then(|place| in_words(message, key_before(text, place)?));
        Self::Form { problem: problem.unwrap_or_else(|| message.to_owned()), place }
    }

    /// The same error, with its place in this file.
    pub(super) fn of_file(self, path: &std::path::Path, text: &str) -> Self {
        // Other mistakes name their rule, and a file has each rule once.
        let place = match &self {
            Self::Form { place, .. } => *place,
            Self::Setting { rule, .. }
            | Self::Bound { rule, .. }
            | Self::Condition { rule, .. }
            | Self::Pattern { rule, .. }
            | Self::Exempts { rule, .. }
            | Self::UnknownBuiltin(rule)
            | Self::Id(rule)
            | Self::Unconditional(rule) => {
                let names = [format!("'{rule}'"), format!("\"{rule}\""), format!("builtin.{rule}")];
                names.iter().filter_map(|name| text.find(name)).min()
            }
            Self::Read { .. } | Self::File { .. } | Self::TooLong | Self::TooMany(_) => None,
        };
        let line = place.and_then(|place| text.get(..place)).map(|before| before.matches('\n').count() + 1);
        Self::File { path: path.display().to_string(), line, mistake: Box::new(self) }
    }
}

fn known_rules() -> String {
    BUILTIN_RULES.map(BuiltinRule::id).join(", ")
}

/// The key whose value begins at `place`.
fn key_before(text: &str, place: usize) -> Option<&str> {
    let before = text.get(..place)?.trim_end().strip_suffix('=')?.trim_end();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    before.rsplit(|letter| !is_plain(letter)).next().filter(|key| !key.is_empty())
}

/// The TOML reader's message about a value, for people who do not know its types.
fn in_words(message: &str, key: &str) -> Option<String> {
    if let Some((given, known)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected one of "))
    {
        let words: Vec<&str> = known.split(", ").map(|word| word.trim_matches('`')).collect();
        let (last, others) = words.split_last()?;
        return Some(format!("`{key}` must be {} or {last}, not `{given}`", others.join(", ")));
    }
    let wanted = match message.rsplit_once("expected ")?.1 {
        "i64" | "u32" | "usize" => "a whole number, such as 100_000",
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        _ => return None,
    };
    Some(format!("`{key}` must be {wanted}"))
}
