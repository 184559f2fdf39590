//! Many matters at once become one message.

use std::fmt::Write as _;

use super::message::{Message, News, id};

/// How many messages of one look are sent one by one.
const SINGLE_MAX: usize = 5;

/// How many matters a combined message names.
const NAMED_MAX: usize = 20;

/// The messages unchanged, or a single one in place of many.
pub fn digest(messages: Vec<Message>) -> Vec<Message> {
    if messages.len() <= SINGLE_MAX {
        return messages;
    }
    let mut detail = String::new();
    for message in messages.iter().take(NAMED_MAX) {
        let state = match message.news {
            News::Resolved => "resolved",
            News::Opened | News::Happened | News::Several | News::Test => "open",
        };
        let _ = writeln!(detail, "- {state}: {}", message.title);
    }
    if messages.len() > NAMED_MAX {
        let _ = writeln!(detail, "and {} more", messages.len() - NAMED_MAX);
    }
    let at = messages.iter().map(|message| message.at).max().unwrap_or_default();
    vec![Message {
        id: id(),
        news: News::Several,
        matter: None,
        title: format!("{} matters changed at once", messages.len()),
        detail: detail.trim_end().to_owned(),
        action: "`colony-gateway check` and `colony-gateway inbox problems` say what to do.".to_owned(),
        link: None,
        at,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[test]
    fn many_matters_at_once_are_one_message_that_names_the_first() {
        let messages = |count: usize| vec![Message::test(Timestamp::from_seconds(1)); count];
        assert_eq!(digest(messages(SINGLE_MAX)).len(), SINGLE_MAX);
        let [one] = &digest(messages(30))[..] else { panic!("not one") };
        assert!(one.title.starts_with("30 ") && one.detail.ends_with("and 10 more"), "{one:?}");
    }
}
