//! Spellings that several places read: durations with their unit, and what is percent-encoded.

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// A whole number and its unit: `500ms`, `30s`, `5m`, `12h`, `35d`. `humantime` would also accept fractions, sums, years
/// and a dozen spellings of each unit, which a settings file is better without.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// Decodes percent encoding. `None` if an escape is incomplete or the result is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    // The library leaves incomplete escapes unchanged.
    let is_whole = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_whole) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_a_whole_number_and_a_unit() {
        let read = [("500ms", 500), ("0s", 0), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)];
        for (text, millis) in read {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "-5s", "1.5s", "5 s", "1w", "99999999999999999999s", "18446744073709551615d", "é"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_is_not_guessed() {
        assert_eq!(percent_decoded("r%C3%A9venue%2C1+%25").as_deref(), Some("révenue,1+%"));
        for text in ["%", "a%4", "%zz", "%+4", "%ff", "%%41", "%é"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".*") {
            let _ = (duration(&text), percent_decoded(&text));
        }
    }
}
