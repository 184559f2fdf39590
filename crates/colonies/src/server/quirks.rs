//! Habits of the Go server that clients can see: how it re-encodes numbers, and how it words what it cannot read.
//!
//! Only the habits that recorded calls and the conformance suite show. Pure functions; nothing here decides.

use serde_json::{Number, Value};

use crate::identity::SignatureError;

/// Whole doubles below this have an exact `i64`.
const EXACT_BELOW: f64 = 9_223_372_036_854_775_808.0;

/// Makes every number a double, written without a fraction if it is whole. Go keeps `args`, `kwargs` and `out` as
/// `interface{}`, so 9007199254740993 comes back as 9007199254740992. Strings stay exact.
pub(super) fn numbers_as_doubles(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => {}
        Value::Array(items) => items.iter_mut().for_each(numbers_as_doubles),
        Value::Object(fields) => fields.values_mut().for_each(numbers_as_doubles),
        Value::Number(number) => {
            if let Some(double) = number.as_f64() {
                *number = double_as_number(double).unwrap_or_else(|| number.clone());
            }
        }
    }
}

fn double_as_number(double: f64) -> Option<Number> {
    if double.fract() == 0.0 && double.abs() < EXACT_BELOW {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number that an i64 holds")]
        return Some(Number::from(double as i64));
    }
    Number::from_f64(double)
}

/// Go's words for a request body that is not JSON. Names the first offending character, as far as a single look
/// shows it.
pub(super) fn body_error(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    let Some(first) = text.chars().next() else {
        return "unexpected end of JSON input".to_owned();
    };
    for literal in ["null", "true", "false"] {
        if literal.starts_with(first) {
            let broken = text.chars().zip(literal.chars()).find(|(found, expected)| found != expected);
            return match broken {
                Some((found, expected)) => {
                    format!("invalid character '{found}' in literal {literal} (expecting '{expected}')")
                }
                None => "unexpected end of JSON input".to_owned(),
            };
        }
    }
    match first {
        '[' => "json: cannot unmarshal array into Go value of type rpc.RPCMsg".to_owned(),
        '"' => "json: cannot unmarshal string into Go value of type rpc.RPCMsg".to_owned(),
        '0'..='9' | '-' => "json: cannot unmarshal number into Go value of type rpc.RPCMsg".to_owned(),
        '{' => "invalid JSON in the request".to_owned(),
        other => format!("invalid character '{other}' looking for beginning of value"),
    }
}

/// Go's words for a signature that does not lead to a key.
pub(super) fn signature_error(error: SignatureError, signature: &str) -> String {
    let recovery = |reason: &str| format!("Failed to recover public key: invalid signature: {reason}");
    match error {
        SignatureError::NotHex(_) => match signature.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
            Some(byte) => format!("encoding/hex: invalid byte: U+{byte:04X} '{}'", char::from(byte)),
            None => "encoding/hex: odd length hex string".to_owned(),
        },
        SignatureError::Length { .. } => "Invalid signature length".to_owned(),
        SignatureError::RecoveryId { byte } => {
            recovery(&format!("public key recovery code {} is not in the valid range [27, 34]", byte.wrapping_add(27)))
        }
        SignatureError::Scalars => recovery("R or S is 0 or >= group order"),
        SignatureError::HighS => "Failed verify signature: Signature s value is over half the order".to_owned(),
        SignatureError::NoSuchKey => recovery("no key can have made it"),
    }
}

/// Processor time in thousandths: `500m` is 500. A text without `m` counts as nothing.
pub(super) fn cpu(text: &str) -> Result<i64, String> {
    text.strip_suffix('m').map_or(Ok(0), |digits| digits.parse().map_err(|_| "Error converting CPU to int".to_owned()))
}

/// Number of bytes in a text such as `10Mi`; zero for an empty text.
pub(super) fn memory(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let binary = unit.ends_with('i') || unit.ends_with("iB");
    let power = match unit.chars().next() {
        Some('K') => 1,
        Some('M') => 2,
        Some('G') => 3,
        Some('T') => 4,
        _ => 0,
    };
    let base: i64 = if binary { 1024 } else { 1000 };
    match digits.parse::<i64>() {
        Ok(number) if power > 0 => Ok(number.saturating_mul(base.saturating_pow(power))),
        Ok(_) | Err(_) => {
            Err(format!("error converting memory to int: strconv.ParseInt: parsing \"{digits}\": invalid syntax"))
        }
    }
}

/// A number of bytes as the server writes it, in whole `Mi`.
pub(super) fn memory_text(bytes: i64) -> String {
    format!("{}Mi", bytes / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_doubles_and_strings_exactly() {
        let mut value: Value = serde_json::from_str(
            r#"[9007199254740993, 1.0, -0.0, 1.5, 18446744073709551615, {"n": [1700000000]}, "9007199254740993"]"#,
        )
        .unwrap();
        numbers_as_doubles(&mut value);
        assert_eq!(
            value.to_string(),
            r#"[9007199254740992,1,0,1.5,1.8446744073709552e+19,{"n":[1700000000]},"9007199254740993"]"#
        );
    }

    #[test]
    fn bodies_that_are_not_json_are_refused_in_gos_words() {
        for (body, words) in [
            ("nope", "invalid character 'o' in literal null (expecting 'u')"),
            ("", "unexpected end of JSON input"),
            ("  ", "unexpected end of JSON input"),
            ("nul", "unexpected end of JSON input"),
            ("<html>", "invalid character '<' looking for beginning of value"),
            ("[]", "json: cannot unmarshal array into Go value of type rpc.RPCMsg"),
        ] {
            assert_eq!(body_error(body.as_bytes()), words, "{body}");
        }
        assert!(!body_error(&[0xff, 0xfe]).is_empty());
    }

    #[test]
    fn signatures_that_name_nobody_are_refused_in_gos_words() {
        let words = |signature: &str| {
            let error = crate::identity::recover("text", signature).unwrap_err();
            signature_error(error, signature)
        };
        assert_eq!(words("zz"), "encoding/hex: invalid byte: U+007A 'z'");
        assert_eq!(words("\u{e9}0"), "encoding/hex: invalid byte: U+00C3 '\u{c3}'");
        assert_eq!(words("000"), "encoding/hex: odd length hex string");
        assert_eq!(words(""), "Invalid signature length");
        assert_eq!(words("00"), "Invalid signature length");
    }

    #[test]
    fn resources_are_read_and_written_as_the_server_does() {
        assert_eq!((cpu("500m"), cpu("4"), cpu("")), (Ok(500), Ok(0), Ok(0)));
        assert!(cpu("xm").is_err());
        assert_eq!(
            (memory("1Gi"), memory("2K"), memory("1GiB"), memory("")),
            (Ok(1 << 30), Ok(2000), Ok(1 << 30), Ok(0))
        );
        assert!(memory("12").is_err() && memory("Mi").is_err() && memory("1XYZ").is_err());
        assert_eq!(memory_text(1 << 30), "1024Mi");
    }
}
