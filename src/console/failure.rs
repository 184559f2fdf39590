//! Pages for what did not work. Each says what happened, what it means and where to go on.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::assets::{PATHS, Paths};
use super::theme::Theme;
use crate::door::Problem;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Failure {
    /// A problem in the words of the admin API.
    Problem(Problem),
    /// The request did not come from a page of this console.
    ForeignPage,
    /// There is no session, or it has ended.
    NoSession,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The text of its page. It goes with the answer, so that the page can have its reader's theme.
#[derive(Clone, Debug)]
pub(super) struct Told {
    status: StatusCode,
    title: String,
    detail: String,
}

impl Told {
    pub(super) fn page(&self, theme: Theme) -> String {
        let Self { status, title, detail } = self;
        let page = FailurePage { theme, assets: &PATHS, status: status.as_u16(), title, detail };
        // Templates of fixed parts write to memory, which cannot fail.
        page.render().unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    theme: Theme,
    assets: &'static Paths,
    status: u16,
    title: &'a str,
    detail: &'a str,
}

impl Failure {
    fn parts(&self) -> (StatusCode, &str, &str) {
        match self {
            Self::Problem(Problem::Invalid { detail }) => {
                (StatusCode::BAD_REQUEST, "The request makes no sense.", detail)
            }
            Self::Problem(problem) => (problem.status(), problem.title(), ""),
            Self::ForeignPage => (
                StatusCode::FORBIDDEN,
                "The request did not come from a page of this console.",
                "Nothing was changed. Go back to the console and try it from there. Behind a proxy, the header Host must be the \
                 name in the address bar.",
            ),
            Self::NoSession => {
                (StatusCode::UNAUTHORIZED, "Your session has ended.", "Nothing was changed. Log in and try again.")
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, detail) = self.parts();
        let told = Told { status, title: title.to_owned(), detail: detail.to_owned() };
        // The problem's answer keeps what the log and a browser need.
        let mut response = match self {
            Self::Problem(problem) => problem.into_response(),
            Self::ForeignPage | Self::NoSession => status.into_response(),
        };
        *response.body_mut() = Body::from(told.page(Theme::default()));
        response.extensions_mut().insert(told);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::WWW_AUTHENTICATE);
        response
    }
}
