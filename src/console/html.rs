//! What templates write that is more than a text, escaped by construction; and the answer that a template becomes.

use std::fmt;

use askama::Template;
use askama::filters::{Escaper as _, Html, HtmlSafe};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use stripe_events::money::Currency;

use super::failure::Failure;
use crate::domain::clock::Timestamp;
use crate::domain::outcome::StateName;
use crate::door::Problem;

/// A template as an answer.
pub(super) struct Page<T>(pub(super) T);

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        match self.0.render() {
            Ok(text) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a page could not be written");
                Failure::from(Problem::Internal).into_response()
            }
        }
    }
}

/// A moment in UTC, to the second. A script shows it in the browser's time zone if a person wants that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.to_string();
        let text = Timestamp::from_seconds(self.0.seconds()).to_string().replace('T', " ").replace('Z', "");
        write!(f, r#"<time datetime="{exact}" title="{exact}">{text}</time>"#)
    }
}

/// A state as a sign and a word, so that colour is never the only mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct State(pub(super) StateName);

impl HtmlSafe for State {}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.0 {
            StateName::Waiting => "○",
            StateName::Leased => "◐",
            StateName::Submitted => "◒",
            StateName::Settled => "●",
            StateName::Dead => "✕",
            StateName::Quarantined => "‖",
        };
        let name = self.0.as_str();
        write!(f, r#"<span class="state {name}"><span aria-hidden="true">{sign}</span> {name}</span>"#)
    }
}

/// A whole number with its thousands separated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) u64);

impl HtmlSafe for Count {}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A text for people, with text between backticks as code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prose<T>(pub(super) T);

impl<T: AsRef<str>> HtmlSafe for Prose<T> {}

impl<T: AsRef<str>> fmt::Display for Prose<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.as_ref().split('`').enumerate() {
            let is_code = at % 2 == 1;
            f.write_str(if is_code { "<code>" } else { "" })?;
            Html.write_escaped_str(&mut *f, part)?;
            f.write_str(if is_code { "</code>" } else { "" })?;
        }
        Ok(())
    }
}

/// A name with dots, after which a line may break.
#[derive(Clone, Debug)]
pub(super) struct Dotted(pub(super) String);

impl HtmlSafe for Dotted {}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.split('.').enumerate() {
            f.write_str(if at > 0 { ".<wbr>" } else { "" })?;
            Html.write_escaped_str(&mut *f, part)?;
        }
        Ok(())
    }
}

/// The id of an event, or the beginning of the digest in its place.
#[derive(Clone, Debug)]
pub(super) struct EventName(pub(super) String);

/// How many digits tell digests apart at a glance.
const DIGEST_DIGITS: usize = 12;

impl HtmlSafe for EventName {}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.0.strip_prefix("sha256:").and_then(|digest| digest.get(..DIGEST_DIGITS));
        if short.is_some() {
            f.write_str("<span title=\"")?;
            Html.write_escaped_str(&mut *f, &self.0)?;
            f.write_str("\">sha256:")?;
        }
        Html.write_escaped_str(&mut *f, short.unwrap_or(&self.0))?;
        f.write_str(if short.is_some() { "…</span>" } else { "" })
    }
}

/// An amount as on a price tag; without a currency, only the number.
pub(super) fn tag(minor: i64, currency: Option<&str>) -> String {
    currency.and_then(Currency::parse).map_or_else(|| minor.to_string(), |currency| currency.tag(minor))
}

/// A duration in a form that people read easily.
pub(super) fn took(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        let counts = [0, 999, 1000, 1_234_567].map(|number| Count(number).to_string());
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12, 3400, 61_000, 7_260_000].map(took), ["12 ms", "3.4 s", "1 min 1 s", "2 h 1 min"]);
        assert_eq!(Prose("run `a <b>` <now>").to_string(), "run <code>a &#60;b&#62;</code> &#60;now&#62;");
        assert_eq!(Dotted("a.<b>".to_owned()).to_string(), "a.<wbr>&#60;b&#62;");
        assert_eq!(EventName("evt_<1>".to_owned()).to_string(), "evt_&#60;1&#62;");
        let digest = EventName(format!("sha256:{}", "0123456789abcdef".repeat(4))).to_string();
        assert!(digest.ends_with(">sha256:0123456789ab…</span>"), "{digest}");
        let moment = Moment(Timestamp::from_millis(1_795_280_627_089)).to_string();
        assert!(moment.contains(">2026-11-21 17:03:47<"), "{moment}");
    }
}
