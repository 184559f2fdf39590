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
    /// It happened, and there is nothing to be resolved.
    Happened,
    /// Several matters in one message.
    Several,
    /// A person asked for it.
    Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same in each attempt, so that a receiver can tell a repetition.
    pub id: String,
    pub news: News,
    /// Nothing in a test and where there are several.
    #[serde(flatten)]
    pub matter: Option<Matter>,
    pub title: String,
    pub detail: String,
    /// What to do; empty where there is nothing.
    pub action: String,
    /// The page of the console that shows the matter, where its address is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Since when, or when it happened.
    pub at: Timestamp,
}

/// The identifier of a message.
pub(super) fn id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(24).collect()
}

impl Message {
    /// What a person who asks for a test gets.
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

    /// The page of the console that shows what it is about.
    pub fn page(&self) -> &'static str {
        self.matter.as_ref().map_or("/console", |matter| matter.kind.page())
    }

    /// The first line: what became of what, and where.
    pub fn headline(&self, gateway: &str) -> String {
        let title = &self.title;
        match self.news {
            News::Opened => format!("[{gateway}] Open: {title}"),
            News::Resolved => format!("[{gateway}] Resolved: {title}"),
            News::Happened | News::Several | News::Test => format!("[{gateway}] {title}"),
        }
    }

    /// Everything below the first line.
    pub fn text(&self) -> String {
        let action = if self.action.is_empty() { String::new() } else { format!("\n\n{}", self.action) };
        let link = self.link.as_deref().map(|link| format!("\n\n{link}")).unwrap_or_default();
        format!("{}{action}{link}", self.detail)
    }
}

/// At most so many characters of a text; what is cut off shows.
pub(super) fn clipped(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}
