//! How many of something, in words: one is told otherwise than several.

use std::fmt::Display;

/// `1 entry` or `5 entries`. Both words are given in full, so that they can include a verb: `entry waits`, `entries wait`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, several: &str) -> String {
    let words = if count == N::from(1) { one } else { several };
    format!("{count} {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_otherwise_than_none_and_several() {
        let entries = |count: u64| counted(count, "entry waits", "entries wait");
        assert_eq!([0, 1, 2].map(entries), ["0 entries wait", "1 entry waits", "2 entries wait"]);
        assert_eq!(counted(1_i64, "day", "days"), "1 day");
    }
}
