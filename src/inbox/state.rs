//! The states of entries as the file has them: by number. Statements have the numbers themselves where SQLite compares them
//! with its partial indexes, word for word.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};

pub use crate::domain::outcome::StateName;

impl StateName {
    pub(super) const fn number(self) -> i64 {
        self as i64
    }
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
    fn the_numbers_of_the_states_are_those_of_files_in_the_field() {
        let numbers = StateName::ALL.map(|state| (state.number(), state.as_str()));
        let expected =
            [(0, "waiting"), (1, "leased"), (2, "submitted"), (3, "settled"), (4, "dead"), (5, "quarantined")];
        assert_eq!(numbers, expected);
    }
}
