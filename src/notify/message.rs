//! A message as all channels get it, before each gives it its form.

use serde::Serialize;

use super::matter::Matter;
use crate::domain::clock::Timestamp;

/// What became of a matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    Opened,
    Resolved,
    /// It happened once, so nothing will be resolved.
    Happened,
    /// Several matters in one message.
    Several,
    /// A person asked for it.
    Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same in each attempt, so that a receiver can recognise a repetition.
    pub id: String,
    pub news: News,
    /// `None` in a test, and if there are several matters.
    #[serde(flatten)]
    pub matter: Option<Matter>,
    pub title: String,
    pub detail: String,
    /// What to do; empty if there is nothing to do.
    pub action: String,
    /// The console's page about the matter, if the console's address is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Since when it lasts, or when it happened.
    pub at: Timestamp,
}

/// The identifier of a message.
pub(super) fn id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(24).collect()
}

impl Message {
    /// The message for a test.
    pub fn test(at: Timestamp) -> Self {
        Self {
            id: id(),
            news: News::Test,
            matter: None,
            title: "This is a test".to_owned(),
            detail: "Messages of colony-gateway arrive here.".to_owned(),
            action: String::new(),
            link: None,
            at,
        }
    }

    /// The console's page about it.
    pub fn page(&self) -> &'static str {
        self.matter.as_ref().map_or("/console", |matter| matter.kind.page())
    }

    /// The first line: what happened to what, and where.
    pub fn headline(&self, gateway: &str) -> String {
        let title = &self.title;
        match self.news {
            News::Opened => format!("[{gateway}] Open: {title}"),
            News::Resolved => format!("[{gateway}] Resolved: {title}"),
            News::Happened | News::Several | News::Test => format!("[{gateway}] {title}"),
        }
    }

    /// The text below the first line.
    pub fn text(&self) -> String {
        let action = if self.action.is_empty() { String::new() } else { format!("\n\n{}", self.action) };
        let link = self.link.as_deref().map(|link| format!("\n\n{link}")).unwrap_or_default();
        format!("{}{action}{link}", self.detail)
    }
}

/// The text, cut visibly to at most so many characters.
pub(super) fn clipped(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}
