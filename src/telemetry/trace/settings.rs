//! Where spans go and what is said about the process that sends them.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::Sampling;
use crate::domain::secret::Secret;
use crate::domain::text::percent_decoded;

#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// The address, including its path, to which batches of spans are posted.
    pub url: Url,
    /// Headers of each request, as `name=value` pairs separated by commas; they may contain a token.
    pub headers: Option<Secret>,
    /// Longest request.
    pub timeout: Duration,
    /// Name of the service; `None`: the process chooses.
    pub service: Option<String>,
    pub resource: Vec<(String, String)>,
    pub sampling: Sampling,
}

/// Reads `name=value` pairs separated by commas, with percent-encoded values, in the form of OpenTelemetry's variables.
///
/// # Errors
/// If one is not a pair. The message does not repeat it.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || "must be name=value, several between commas, values percent-encoded".to_owned();
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), percent_decoded(value.trim()).ok_or_else(wrong)?);
        if name.is_empty() { Err(wrong()) } else { Ok((name.to_owned(), value)) }
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// Reads headers, and marks their values as secret.
///
/// # Errors
/// If one cannot be a header. The message does not repeat it.
pub fn header_map(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (number, (name, value)) in pairs(text)?.into_iter().enumerate() {
        let wrong =
            || format!("header {} cannot be one: its name or value has characters that no header has", number + 1);
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_the_variables_of_opentelemetry_have_them() {
        let read = pairs(" deployment.environment=prod , team=r%C3%A9venue%2C1,empty= ,").unwrap();
        let expected = [("deployment.environment", "prod"), ("team", "révenue,1"), ("empty", "")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(header_map("Authorization=Bearer%20abc").unwrap()["authorization"], "Bearer abc");
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for text in
            ["s3cret", "=s3cret", "a=s3cret%", "a=s3cret%4", "a=s3cret%zz", "a=s3cret%ff", "a=s3cret%0a", "s3 cret=x"]
        {
            let message = header_map(text).unwrap_err();
            assert!(!message.contains("cret"), "{text}: {message}");
        }
    }

    #[test]
    fn header_values_are_not_shown() {
        assert!(!format!("{:?}", header_map("authorization=s3cret").unwrap()).contains("s3cret"));
    }
}
