//! What is wrong with a configuration, in words for the person who wrote it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the setting as the user wrote it.
    pub setting: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

#[derive(Debug)]
pub struct ConfigError(pub Vec<Fault>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} in the configuration:", if count == 1 { "fault" } else { "faults" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigError {}

/// The end of a sentence: a question with the name that was probably meant, or nothing if no name is similar.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// From 0 for nothing alike to 1. Two wrong letters of ten are just enough.
    const LIKENESS_MIN: f64 = 0.8;
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(written, name);
    known
        .into_iter()
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(|| ".".to_owned(), |(_, name)| format!(". Did you mean {name}?"))
}

/// Where a text is no TOML, and why. The library's own words repeat the line, which may hold a secret without its quotes.
pub(super) fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map(|before| {
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!(" (line {}, column {column})", before.matches('\n').count() + 1)
    });
    format!("is not TOML{}: {}", place.unwrap_or_default(), error.message().replace('\n', ", "))
}
