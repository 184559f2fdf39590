//! Which gateway tells people of a matter that all of them see: of those that share an inbox the first to claim it. A claim that
//! led to no message, because its gateway died, is another's after a while: twice is better than never.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::inbox::{AlertGroup, Inbox};
use crate::notify::{Matter, MatterKind, Message, News, Told, Tracker};

/// Looks between two at what was told and is open nowhere any more.
const FORGET_LOOKS: u64 = 60;

/// After the start, time beyond two waits for the end of a matter in which the other gateways have told that it is over.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// What this gateway claimed and has not told yet.
#[derive(Debug, Default)]
pub(super) struct Turns {
    claimed: BTreeSet<String>,
}

/// Whether every gateway sees the same of it. What is not well in a gateway, and its keys, are its own.
const fn is_shared(kind: MatterKind) -> bool {
    match kind {
        MatterKind::Problem | MatterKind::Access | MatterKind::Backlog | MatterKind::NoWebhook => true,
        MatterKind::Component | MatterKind::MissedEvents | MatterKind::KeyDue => false,
    }
}

/// What gateways among them know a matter by.
fn name(matter: &Matter) -> String {
    format!("{}:{}", matter.kind.as_str(), matter.key)
}

fn shared_name(message: &Message) -> Option<String> {
    message.matter.as_ref().filter(|matter| is_shared(matter.kind)).map(name)
}

impl Turns {
    /// The messages that this gateway sends. What another one has claimed and not sent yet is looked at again.
    pub(super) async fn mine(&mut self, inbox: &Inbox, tracker: &mut Tracker, news: Vec<Message>) -> Vec<Message> {
        let names = |is_over: bool| {
            let these = news.iter().filter(move |message| (message.news == News::Resolved) == is_over);
            these.filter_map(shared_name).collect::<BTreeSet<String>>()
        };
        let (opened, resolved) = (names(false), names(true));
        if !inbox.is_shared() || (opened.is_empty() && resolved.is_empty()) {
            return news;
        }
        let turns = inbox.claim_messages(opened, resolved).await;
        let mut mine = Vec::with_capacity(news.len());
        for message in news {
            let Some(name) = shared_name(&message) else {
                mine.push(message);
                continue;
            };
            if turns.mine.contains(&name) {
                if message.news != News::Resolved {
                    self.claimed.insert(name);
                }
                mine.push(message);
            } else if let Some(matter) = message.matter.as_ref().filter(|_| turns.pending.contains(&name)) {
                tracker.untell(matter);
            }
        }
        mine
    }

    /// Notes that all that was claimed was sent or given up.
    pub(super) async fn sent(&mut self, inbox: &Inbox) {
        if !self.claimed.is_empty() && inbox.messages_sent(self.claimed.clone()).await.is_ok() {
            self.claimed.clear();
        }
    }

    /// Now and then forgets what gateways told that are gone, and that is over since: it is told when it opens again.
    pub(super) async fn forget<'a>(
        &self,
        inbox: &Inbox,
        (open, told): (impl Iterator<Item = &'a Matter>, &'a [Told]),
        (looks, after): (u64, Duration),
        (started, now): (Timestamp, Timestamp),
    ) {
        if !inbox.is_shared() || !looks.is_multiple_of(FORGET_LOOKS) || now.since(started) < after * 2 + FORGET_AFTER {
            return;
        }
        let kept = open.chain(told.iter().map(|told| &told.matter)).map(name).collect();
        if let Err(error) = inbox.forget_alerts(AlertGroup::Messages, kept).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "inbox does not tell which messages were sent");
        }
    }
}
