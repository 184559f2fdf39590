//! Tables as files for spreadsheets (RFC 4180).

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A file to keep.
#[derive(Debug)]
pub(super) struct Csv {
    /// Without its ending. Made of letters, digits and dashes.
    pub(super) name: String,
    pub(super) text: String,
}

impl IntoResponse for Csv {
    fn into_response(self) -> Response {
        let disposition = format!("attachment; filename=\"{}.csv\"", self.name);
        let headers =
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
        (headers, self.text).into_response()
    }
}

/// A table with its head. A spreadsheet runs what begins like a formula, so that such a text gets a mark before it.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = head.join(",");
    text.push_str("\r\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| self::cell(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn cell(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok();
    let runs = !is_number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if runs { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_run_nothing() {
        let row = ["plain", "a,b", "say \"x\"", "=1+1", "-5", "-x", "@a"].map(str::to_owned).to_vec();
        assert_eq!(table(&["a", "b"], &[row]), "a,b\r\nplain,\"a,b\",\"say \"\"x\"\"\",'=1+1,-5,'-x,'@a\r\n");
    }
}
