//! Times on the command line.

use std::str::FromStr;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::text::duration;

/// A moment such as `2026-01-02T03:04:05Z`, or how long ago, such as `90m`, `2h` or `3d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// When that is.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.minus(ago),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = Timestamp::parse_rfc3339(text).map(Self::At);
        at.or_else(|| duration(text).map(Self::Ago)).ok_or_else(|| {
            "must be a time such as 2026-01-02T03:04:05Z, or how long ago, such as 90m, 2h or 3d".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_how_long_ago() {
        let now = Timestamp::from_seconds(100_000);
        let of = |text: &str| text.parse::<Moment>().map(|moment| moment.before(now));
        assert_eq!(of("2h"), Ok(Timestamp::from_seconds(92_800)));
        assert_eq!(of("1970-01-01T00:00:05Z"), Ok(Timestamp::from_seconds(5)));
        assert_eq!("7d".parse(), Ok(Moment::Ago(Duration::from_hours(168))));
        let wrong = ["", "h", "d", "2", "7", "2 h", "7 d", "2w", "-2h", "yesterday", "99999999999999999999s"];
        for text in wrong.into_iter().chain(["99999999999999999999d", "18446744073709551615d", "é"]) {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
