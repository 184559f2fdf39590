//! Log lines as JSON objects: `timestamp`, `level`, the fields of the event, `target`.
//!
//! Written straight into the line. A general serializer takes twice as long, and a line is written for each request.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::domain::causes::chain;

/// Formats events as JSON, one per line. Spans are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(event.metadata().level().as_str())?;
        line.write_char('"')?;
        let mut fields = FieldWriter { line: &mut line, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        line.write_str(",\"target\":\"")?;
        Text(&mut line).write_str(event.metadata().target())?;
        line.write_str("\"}\n")
    }
}

/// Writes fields one after the other.
struct FieldWriter<'a, 'w> {
    line: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl FieldWriter<'_, '_> {
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.write(field, |line| write!(line, "{value}"));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.write(field, |line| {
            line.write_char('"')?;
            // Without arguments to format, this is one string.
            match value.as_str() {
                Some(text) => Text(line).write_str(text)?,
                None => Text(line).write_fmt(value)?,
            }
            line.write_char('"')
        });
    }

    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_err() {
            return;
        }
        self.result = (|| {
            self.line.write_str(",\"")?;
            Text(self.line).write_str(field.name())?;
            self.line.write_str("\":")?;
            value(self.line)
        })();
    }
}

impl Visit for FieldWriter<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() { self.plain(field, value) } else { self.plain(field, "null") }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |line| {
            line.write_char('"')?;
            Text(line).write_str(value)?;
            line.write_char('"')
        });
    }

    /// With its causes, because the top error seldom says why.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &chain(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Everything written goes into a JSON string.
struct Text<'a, 'w>(&'a mut Writer<'w>);

impl Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
                continue;
            }
            // These bytes are always whole characters in UTF-8.
            self.0.write_str(&text[plain..at])?;
            plain = at + 1;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                _ => write!(self.0, "\\u{byte:04x}")?,
            }
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
pub(crate) mod captured {
    //! What is logged while something is done, for tests.

    use std::io;
    use std::sync::{Arc, Mutex};

    use super::JsonLine;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the result of `act`, and the lines that it logged on this thread.
    pub(crate) fn logged<T>(act: impl FnOnce() -> T) -> (T, String) {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(JsonLine).with_writer(move || writer.clone()).finish();
        let returned = tracing::subscriber::with_default(subscriber, act);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (returned, text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let ((), text) = captured::logged(log);
        assert!(text.ends_with('\n') && text.is_ascii() != text.contains('é'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn fields_keep_their_types() {
        let lines = logged(|| {
            let error = std::io::Error::other("no \"room\"");
            tracing::warn!(
                target: "request",
                status = 200_u16, entry = -3_i64, duration_ms = 1.5, whole = 2.0, nan = f64::NAN, held = false,
                path = "/é", kept = ?Some("a"), shown = %"b", absent = Option::<&str>::None,
                error = &error as &dyn std::error::Error,
                "said {}", 1
            );
        });
        let mut line = lines.into_iter().next().unwrap();
        let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        let timestamp = timestamp.as_str().unwrap();
        assert!(crate::domain::clock::Timestamp::parse_rfc3339(timestamp).is_some(), "{timestamp}");
        let expected = json!({
            "level": "WARN", "message": "said 1", "status": 200, "entry": -3, "duration_ms": 1.5, "whole": 2.0,
            "nan": null, "held": false, "path": "/é", "kept": "Some(\"a\")", "shown": "b", "error": "no \"room\"",
            "target": "request",
        });
        // 2.0 is written as 2, which is the same number.
        assert_eq!(line["whole"].as_f64(), Some(2.0));
        line["whole"] = json!(2.0);
        assert_eq!(line, expected);
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the answer cannot be read")]
        struct Unreadable(#[source] std::io::Error);
        let error = Unreadable(std::io::Error::other("connection reset"));
        let lines = logged(|| tracing::warn!(error = &error as &dyn std::error::Error, "trying again"));
        assert_eq!(lines[0]["error"], "the answer cannot be read: connection reset");
    }

    #[test]
    fn any_text_stays_one_line_and_one_string() {
        let text: String = (0..0x80_u8).map(char::from).chain("é\u{2028}😀".chars()).collect();
        let lines = logged(|| tracing::error!(text, shown = %text, "{text}"));
        assert_eq!(lines.len(), 1);
        for field in ["text", "shown", "message"] {
            assert_eq!(lines[0][field], text, "{field}");
        }
    }
}
