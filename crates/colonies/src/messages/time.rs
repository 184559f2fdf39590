//! A moment as Go writes it: RFC 3339, with the first second of year 1 for "never".
//!
//! A server reads that second back from its database in the database's time zone, and Go cuts the seconds off the offset that the
//! zone had before there was standard time. So "never" may come as any moment within a minute of it, even in year 0.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Moment;

/// How Go writes a time that was never set.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// The end of the moments that mean "never", in seconds since 1970: the second day of year 1.
const NEVER_UNTIL: i64 = -62_135_510_400;

/// A moment, or none. Fractions of a millisecond are cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireTime(pub Option<Moment>);

impl From<Moment> for WireTime {
    fn from(moment: Moment) -> Self {
        Self(Some(moment))
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(moment) => serializer.collect_str(&moment),
            None => serializer.serialize_str(ZERO),
        }
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Moment::parse_rfc3339(&text)
            .map(|moment| Self((moment.seconds() >= NEVER_UNTIL).then_some(moment)))
            .ok_or_else(|| serde::de::Error::invalid_value(serde::de::Unexpected::Str(&text), &"a time in RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WireTime, serde_json::Error> {
        serde_json::from_value(serde_json::Value::from(text))
    }

    #[test]
    fn never_is_written_and_read_as_go_does() {
        assert_eq!(read(ZERO).unwrap(), WireTime(None));
        assert_eq!(serde_json::to_string(&WireTime(None)).unwrap(), format!("\"{ZERO}\""));
    }

    #[test]
    fn never_is_never_in_every_time_zone() {
        for text in [
            "0001-01-01T01:12:12+01:12",
            "0000-12-31T19:03:58-04:56",
            "0001-01-01T00:00:00+00:00",
            "0001-01-01T09:18:59+09:18",
        ] {
            assert_eq!(read(text).unwrap(), WireTime(None), "{text}");
        }
        assert!(read("1970-01-01T00:00:00Z").unwrap().0.is_some());
    }

    #[test]
    fn moments_keep_their_milliseconds_whatever_the_digits_and_the_zone() {
        let moment = WireTime::from(Moment::from_millis(1_795_280_627_964));
        for text in ["2026-11-21T17:03:47.964011142Z", "2026-11-21T17:03:47.964Z", "2026-11-21T18:03:47.96401+01:00"] {
            assert_eq!(read(text).unwrap(), moment, "{text}");
        }
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-11-21T17:03:47.964Z\"");
        assert!(read("yesterday").is_err());
    }
}
