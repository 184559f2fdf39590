//! How pages look: light, dark, or as the system has it.

use axum::http::HeaderMap;

use super::session::cookie;

/// Cookie that remembers the theme.
pub(super) const THEME_COOKIE: &str = "colony_console_theme";

/// The theme of pages. The server writes it into the page, so that nothing flashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the system has it.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        [Self::Light, Self::Dark].into_iter().find(|theme| theme.name() == text).unwrap_or_default()
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        cookie(headers, THEME_COOKIE).map(Self::parse).unwrap_or_default()
    }

    /// The theme that the button offers.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Auto => Self::Dark,
            Self::Dark => Self::Light,
            Self::Light => Self::Auto,
        }
    }
}
