//! Which gateway tells people of a matter that all of them see: of those that share an inbox the first to claim it. A claim that
//! led to no message, because its gateway died, is another's after a while: twice is better than never.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::inbox::{AlertGroup, Inbox};
use crate::notify::{Matter, MatterKind, Message, News, Told, Tracker};

/// How many looks pass between two searches for told matters that are no longer open anywhere.
const FORGET_LOOKS: u64 = 60;

/// After the start, how long beyond two waits for the end of a matter the other gateways have to report that it is over.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// Messages that this gateway claimed and has not sent yet.
#[derive(Debug, Default)]
pub(super) struct Turns {
    claimed: BTreeSet<String>,
}

/// Whether every gateway sees the same matter. Trouble in one gateway, and its keys, are its own.
const fn is_shared(kind: MatterKind) -> bool {
    match kind {
        MatterKind::Problem | MatterKind::Access | MatterKind::Backlog | MatterKind::NoWebhook => true,
        MatterKind::Component | MatterKind::MissedEvents | MatterKind::KeyDue => false,
    }
}

/// The name by which gateways tell a matter apart.
fn name(matter: &Matter) -> String {
    format!("{}:{}", matter.kind.as_str(), matter.key)
}

fn shared_name(message: &Message) -> Option<String> {
    message.matter.as_ref().filter(|matter| is_shared(matter.kind)).map(name)
}

impl Turns {
    /// The messages that this gateway sends. Those that another gateway has claimed and not sent yet are looked at again.
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

    /// Notes that everything claimed was sent or given up.
    pub(super) async fn sent(&mut self, inbox: &Inbox) {
        if !self.claimed.is_empty() && inbox.messages_sent(self.claimed.clone()).await.is_ok() {
            self.claimed.clear();
        }
    }

    /// Now and then forgets matters that are over and that gateways now gone had reported: when they open again, they are
    /// reported.
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
