//! What the texts of settings mean: one form for each kind of value, with errors that say what to write.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::limits::LINGER_MAX;

#[expect(clippy::unnecessary_wraps, reason = "all parsers have one form")]
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// `true` or `false`, and the spellings that are usual in environments.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A duration with its unit: `500ms`, `30s`, `5m`, `12h`, `35d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = crate::domain::text::duration(text)
        .ok_or_else(|| "must be a whole number and a unit, such as 500ms, 30s, 5m, 12h or 35d".to_owned())?;
    if read.is_zero() { Err("must be more than zero".to_owned()) } else { Ok(read) }
}

/// A time to linger: a duration of at most ten seconds, or `off`.
pub(super) fn linger(text: &str) -> Result<Duration, String> {
    match text {
        "off" => Ok(Duration::ZERO),
        text => match duration(text)? {
            long if long > LINGER_MAX => Err("must be at most 10s, or off".to_owned()),
            linger => Ok(linger),
        },
    }
}

/// A number of bytes: `65536`, `64KiB`, `256MiB`, `10GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let factor = match text[digits..].trim() {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1_u64 << 30),
        _ => None,
    };
    text[..digits]
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor?))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "must be a number of bytes, such as 65536, 64KiB or 10GiB".to_owned())
}

/// A whole number between bounds.
pub(super) fn number(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> {
    move |text| match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(duration("35d"), Ok(Duration::from_hours(35 * 24)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(linger("off"), Ok(Duration::ZERO));
        assert_eq!(linger("10s"), Ok(LINGER_MAX));
        assert!(linger("11s").is_err() && linger("0s").is_err());
        assert_eq!(bytes("10GiB"), Ok(10 << 30));
        assert_eq!(bytes("512"), Ok(512));
        for text in ["", "s", "5", "-5s", "1.5s", "5 parsecs", "99999999999999999999s", "0s", "é"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "KiB", "-1", "1kb", "99999999999GiB", "0", "é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".*") {
            let _ = (duration(&text), bytes(&text), boolean(&text), number(0, 9)(&text));
        }
    }
}
