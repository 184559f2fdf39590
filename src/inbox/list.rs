//! Lists and exports of entries, page by page, with their bodies on request.

use serde::{Deserialize, Serialize};

use super::report::EntryReport;
use super::selection::Selection;
use super::{Inbox, InboxError};
use crate::domain::ids::EntryId;

/// Most bytes of bodies on one page of a list, unless a single body is larger.
pub const PAGE_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An entry of a list or an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Everything except the body.
    #[serde(flatten)]
    pub entry: EntryReport,
    /// The body as it was signed, if it was asked for and is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The same for a body that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// Some entries, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPage {
    /// Newest first.
    pub entries: Vec<Listed>,
    /// The next page begins after this entry; absent on the last page.
    pub next: Option<EntryId>,
}

impl Listed {
    fn of(entry: EntryReport, body: Option<Vec<u8>>) -> Self {
        use base64::Engine as _;
        let (body, body_base64) = match body.map(String::from_utf8) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.as_bytes()))),
        };
        Self { entry, body, body_base64 }
    }
}

impl Inbox {
    /// A page of entries after `after`, newest first. With `reveal` also their bodies, as many as fit into
    /// [`PAGE_BODY_BYTES_MAX`].
    pub async fn list(
        &self,
        selection: &Selection,
        after: Option<EntryId>,
        limit: usize,
        reveal: bool,
    ) -> Result<ListedPage, InboxError> {
        let page = self.select(selection, after, limit).await?;
        let mut bodies = Vec::new();
        if reveal {
            bodies = self.bodies(page.entries.iter().map(|entry| entry.entry).collect(), PAGE_BODY_BYTES_MAX).await?;
        }
        // A page whose bodies do not fit ends early, and the next one begins there.
        let fit = if reveal { bodies.len() } else { page.entries.len() };
        let cut = (fit < page.entries.len()).then(|| page.entries.get(fit.saturating_sub(1)).map(|last| last.entry));
        let next = cut.unwrap_or(page.next);
        let bodies = bodies.into_iter().chain(std::iter::repeat_with(|| None));
        let entries = page.entries.into_iter().take(fit).zip(bodies).map(|(entry, body)| Listed::of(entry, body));
        Ok(ListedPage { entries: entries.collect(), next })
    }
}
