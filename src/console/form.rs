//! Fields of a form and of a query, as browsers send them.

use axum::body::Body;

use super::failure::Failure;
use crate::admin::read_body;
use crate::domain::text::percent_decoded;
use crate::door::Problem;

/// Longest body of a form, in bytes: a note, a selection, and room.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Fields in their order.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body of a request.
    pub(super) async fn read(body: Body) -> Result<Self, Failure> {
        Self::read_up_to(body, FORM_BYTES_MAX).await
    }

    /// As [`Self::read`], up to `bytes_max` bytes.
    pub(super) async fn read_up_to(body: Body, bytes_max: usize) -> Result<Self, Failure> {
        let body = read_body(body, bytes_max).await?;
        let text = std::str::from_utf8(&body).map_err(|_| Problem::InvalidRequest)?;
        Self::parse(text).ok_or_else(|| Problem::InvalidRequest.into())
    }

    /// `None` for text that is not percent-encoded UTF-8.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let decode = |text: &str| percent_decoded(&text.replace('+', " "));
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        decoded.collect::<Option<_>>().map(Self)
    }

    /// The first field of this name, without surrounding space; `None` if it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }
}

/// The filters of a query: its fields without those of `mine` and without empty ones.
pub(super) fn filters(query: &str, mine: &[&str]) -> String {
    let kept = query.split('&').filter(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        !value.is_empty() && !mine.contains(&name)
    });
    kept.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let form = Form::parse("note=a+b%26c%C3%A9&empty=&note=second&bare").unwrap();
        assert_eq!((form.get("note"), form.get("empty"), form.get("bare")), (Some("a b&cé"), None, None));
        assert!(Form::parse("a=%ff").is_none() && Form::parse("%=1").is_none());
    }

    #[test]
    fn what_was_left_empty_filters_nothing() {
        assert_eq!(filters("state=dead&type=&live=x&code=rule&&after", &["live"]), "state=dead&code=rule");
    }
}
