//! The states of entries in the columns of the file.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};

use crate::inbox::state::StateName;

impl ToSql for StateName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}

impl FromSql for StateName {
    /// A number that means no state is damage. Such an entry shows as waiting, so that its page can still be read.
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        Ok(Self::ALL.into_iter().find(|state| state.number() == number).unwrap_or(Self::Waiting))
    }
}
