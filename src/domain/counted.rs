//! How many of something and how long, in words: one is told otherwise than several.

use std::fmt::Display;
use std::time::Duration;

/// `1 entry` or `5 entries`. Both words are given in full, so that they can include a verb: `entry waits`, `entries wait`.
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, several: &str) -> String {
    let words = if count == N::from(1) { one } else { several };
    format!("{count} {words}")
}

/// A duration for people, rounded down, in the largest unit of which it has at least two: `90 seconds`, `47 hours`, `3 days`.
pub fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => counted(seconds, "second", "seconds"),
        120..7_200 => counted(seconds / 60, "minute", "minutes"),
        7_200..172_800 => counted(seconds / 3_600, "hour", "hours"),
        _ => counted(seconds / 86_400, "day", "days"),
    }
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

    #[test]
    fn a_duration_has_a_unit_in_which_people_think() {
        let told = [0, 1, 119, 120, 7_199, 7_200, 172_799, 172_800, 259_200].map(|s| lasting(Duration::from_secs(s)));
        let expected = [
            "0 seconds",
            "1 second",
            "119 seconds",
            "2 minutes",
            "119 minutes",
            "2 hours",
            "47 hours",
            "2 days",
            "3 days",
        ];
        assert_eq!(told, expected);
    }
}
