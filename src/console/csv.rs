//! Tables as files for spreadsheets (RFC 4180).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;

use crate::door::Problem;

/// A file for download.
pub(super) struct Csv {
    /// Without its extension. It has letters, digits and dashes.
    pub(super) name: String,
    pub(super) text: String,
    /// The rest of the file; `None` if the text is all.
    pub(super) rest: Option<Rest>,
}

/// Makes the next part of a file.
pub(super) type Rest = Pin<Box<dyn Future<Output = Result<Part, Problem>> + Send>>;

/// A part of a file, and what makes the next.
pub(super) struct Part {
    pub(super) text: String,
    pub(super) rest: Option<Rest>,
}

/// A file that is made while it is downloaded, so that only one part is in memory. If a part cannot be made, the answer is
/// broken off, so that the browser knows that the file is incomplete.
struct Parts {
    first: Option<String>,
    rest: Option<Rest>,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Problem;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let made = ready!(rest.as_mut().poll(context));
        self.rest = None;
        Poll::Ready(Some(made.map(|part| {
            self.rest = part.rest;
            Frame::data(part.text.into())
        })))
    }
}

impl IntoResponse for Csv {
    fn into_response(self) -> Response {
        let disposition = format!("attachment; filename=\"{}.csv\"", self.name);
        let headers =
            [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
        let body = match self.rest {
            None => Body::from(self.text),
            rest => Body::new(Parts { first: Some(self.text), rest }),
        };
        (headers, body).into_response()
    }
}

/// A table with its head. A spreadsheet would run text that looks like a formula, so such text gets a mark in front.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new(head);
    for row in rows {
        table.row(row);
    }
    table.text
}

/// A table that is written row by row.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) text: String,
    columns: usize,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { text: format!("{}\r\n", head.join(",")), columns: head.len() }
    }

    /// More rows of a table whose head is in an earlier part.
    pub(super) fn more(columns: usize) -> Self {
        Self { text: String::new(), columns }
    }

    /// Adds a row, padded with empty cells to the width of the head.
    pub(super) fn row(&mut self, row: &[String]) {
        for at in 0..self.columns.max(row.len()) {
            self.text.push_str(if at > 0 { "," } else { "" });
            self.text.push_str(&row.get(at).map(|text| cell(text)).unwrap_or_default());
        }
        self.text.push_str("\r\n");
    }
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
        let mut short = Table::new(&["a", "b", "c"]);
        short.row(&["more".to_owned()]);
        assert_eq!(short.text, "a,b,c\r\nmore,,\r\n", "each row has as many cells as the head");
        let mut more = Table::more(2);
        more.row(&["x".to_owned()]);
        assert_eq!(more.text, "x,\r\n");
        let row = ["plain", "a,b", "say \"x\"", "=1+1", "-5", "-x", "@a"].map(str::to_owned).to_vec();
        assert_eq!(table(&["a", "b"], &[row]), "a,b\r\nplain,\"a,b\",\"say \"\"x\"\"\",'=1+1,-5,'-x,'@a\r\n");
    }
}
