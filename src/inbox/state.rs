//! The states of an entry. Their names and their numbers in the file stand here and nowhere else, but for the statements
//! of [`super::schema`], which SQLite compares with its partial indexes word for word.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

/// The name of a state, in answers and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateName {
    /// Waits for an attempt.
    Waiting,
    /// A pump works on it.
    Leased,
    /// A process of a Colonies server has it.
    Submitted,
    /// Done: applied, found to need nothing, or dropped.
    Settled,
    /// Given up; kept until a person replays it.
    Dead,
    /// Held back by a rule; kept until a person releases it.
    Quarantined,
}

impl StateName {
    /// Every state, by its number in the file.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Leased, Self::Submitted, Self::Settled, Self::Dead, Self::Quarantined];

    /// As it stands in answers, metrics and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leased => "leased",
            Self::Submitted => "submitted",
            Self::Settled => "settled",
            Self::Dead => "dead",
            Self::Quarantined => "quarantined",
        }
    }

    /// The number of the state in the file.
    pub(super) const fn number(self) -> i64 {
        self as i64
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for StateName {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A text that names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {}", one_of(&StateName::ALL))]
pub struct UnknownState;

fn one_of(states: &[StateName]) -> String {
    let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("{} or {last}", others.join(", "))
}

impl ToSql for StateName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}

impl FromSql for StateName {
    /// A number that stands for no state is damage. Such an entry shows as waiting, rather than making the page
    /// unreadable that it is on.
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Ok(Self::ALL.into_iter().find(|state| state.number() == number).unwrap_or(Self::Waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_same_name_everywhere() {
        for (number, state) in (0..).zip(StateName::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        let refused = "asleep".parse::<StateName>().unwrap_err();
        assert_eq!(refused.to_string(), "must be waiting, leased, submitted, settled, dead or quarantined");
    }
}
