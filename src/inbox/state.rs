//! The states of entries as the file has them: by number. Statements have the numbers themselves where SQLite compares them
//! with its partial indexes, word for word.

pub use crate::domain::outcome::StateName;

impl StateName {
    pub(super) const fn number(self) -> i64 {
        self as i64
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
