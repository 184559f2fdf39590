//! Exact money: whole minor units with their currency, and the decimals that Stripe writes prices in.
//!
//! No float takes part anywhere: a decimal is a whole number of millionths of a millionth.

use std::fmt;

/// Digits kept after the decimal point; Stripe writes at most twelve.
const FRACTION_DIGITS: usize = 12;

/// The number one, in units of the last digit kept.
const ONE: i128 = 1_000_000_000_000;

/// Most digits before the decimal point. An `i64` has as many.
const WHOLE_DIGITS_MAX: usize = 19;

/// Largest amount accepted, in minor units of any currency. The sum of a million such amounts fits an `i64`, so no
/// single event can make a report overflow.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// An exact decimal number with up to twelve digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);

    /// Reads a number such as `-12.50`. `None` for an exponent, for more digits than are kept, and for anything
    /// else that is not a plain decimal.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let fraction = fraction.trim_end_matches('0');
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS {
            return None;
        }
        if !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
            return None;
        }
        let fraction: i128 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
        let size = whole.parse::<i128>().ok()?.checked_mul(ONE)?.checked_add(fraction)?;
        Some(Self(if negative { -size } else { size }))
    }

    /// The same value as an integer, if it is whole.
    pub fn to_integer(self) -> Option<i64> {
        if self.0 % ONE == 0 { i64::try_from(self.0 / ONE).ok() } else { None }
    }

    /// This number times `factor / divisor`; `None` if that is out of range or the divisor is zero.
    pub fn scale(self, factor: i64, divisor: i64) -> Option<Self> {
        self.0.checked_mul(i128::from(factor))?.checked_div(i128::from(divisor)).map(Self)
    }

    /// The sum; `None` if it is out of range.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The nearest whole number. Halves round away from zero.
    pub fn round(self) -> Option<i64> {
        let half = if self.0 < 0 { -ONE / 2 } else { ONE / 2 };
        i64::try_from(self.0.checked_add(half)? / ONE).ok()
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self(i128::from(whole) * ONE)
    }
}

/// An ISO 4217 code in lower case, or a longer code of a currency that belongs to no country.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(String);

impl Currency {
    /// Takes a code of three to eight letters and digits, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (3..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The code in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Decimal places between the minor unit in which Stripe counts and the unit on a price tag. Stripe does not
    /// count the currencies of two lists in hundredths (see its page "Supported currencies"). It does count ISK and
    /// UGX in hundredths, although they have no such coins.
    pub fn decimals(&self) -> u32 {
        match self.0.as_str() {
            "bif" | "clp" | "djf" | "gnf" | "jpy" | "kmf" | "krw" | "mga" | "pyg" | "rwf" | "vnd" | "vuv" | "xaf"
            | "xof" | "xpf" => 0,
            "bhd" | "jod" | "kwd" | "omr" | "tnd" => 3,
            _ => 2,
        }
    }

    /// `amount` minor units as on a price tag: `12.50 EUR`, `1250 JPY`, `1.250 KWD`.
    pub fn tag(&self, amount: i64) -> String {
        let decimals = self.decimals();
        let code = self.0.to_ascii_uppercase();
        if decimals == 0 {
            return format!("{amount} {code}");
        }
        let (sign, size, unit) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs(), 10_u64.pow(decimals));
        format!("{sign}{}.{:0width$} {code}", size / unit, size % unit, width = decimals as usize)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let tenth = Decimal::parse("0.1").unwrap();
        let fifth = Decimal::parse("0.2").unwrap();
        assert_eq!(tenth.plus(fifth), Decimal::parse("0.3"));
        assert_eq!(Decimal::parse("-1050.00").and_then(Decimal::to_integer), Some(-1050));
        assert_eq!(Decimal::parse("0.000000000001").map(|least| least.0), Some(1));
    }

    #[test]
    fn what_is_no_plain_decimal_is_none() {
        for text in ["", "-", ".5", "5.", "1e3", "+1", " 1", "1,5", "0x1", "0.0000000000001", "12345678901234567890"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn halves_round_away_from_zero() {
        for (text, whole) in [("2.5", 3), ("-2.5", -3), ("2.4", 2), ("-0.4", 0), ("99.999", 100)] {
            assert_eq!(Decimal::parse(text).and_then(Decimal::round), Some(whole), "{text}");
        }
    }

    #[test]
    fn scaling_never_overflows_silently() {
        let big = Decimal::from(i64::MAX);
        assert!(big.scale(i64::MAX, 1).is_none());
        assert!(big.scale(1, 0).is_none());
        assert_eq!(Decimal::from(120).scale(1, 12).and_then(Decimal::to_integer), Some(10));
    }

    #[test]
    fn amounts_are_shown_with_the_currencys_own_decimals() {
        for (code, amount, tag) in [
            ("eur", 1250, "12.50 EUR"),
            ("JPY", 1250, "1250 JPY"),
            ("kwd", 1250, "1.250 KWD"),
            ("isk", 1200, "12.00 ISK"),
            ("eur", -5, "-0.05 EUR"),
            ("eur", i64::MIN, "-92233720368547758.08 EUR"),
        ] {
            assert_eq!(Currency::parse(code).map(|currency| currency.tag(amount)).as_deref(), Some(tag));
        }
    }

    #[test]
    fn a_currency_is_letters_and_digits() {
        for text in ["", "eu", "e-r", "euro €", "ninechars"] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
    }
}
