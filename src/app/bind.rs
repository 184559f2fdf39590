//! An operator's word about whose a subscription or a customer is.
//!
//! It is recorded like an event, under an id of a form that Stripe does not use, with who said it and why, and takes effect
//! in the transaction in which it is recorded.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::ids::EventId;
use crate::ledger::person::Subject;
use crate::ledger::report::StateOfRecord;
use crate::ledger::{LedgerError, Outcome};
use crate::revenue::rows::{ClaimRank, ClaimRow, EventFacts, Rank, RawJson, Standing, Version};
use crate::revenue::verdict::{Plan, Verdict};
use crate::stripe::metadata;
use crate::stripe::object::Object;

/// The event type under which the ledger records an operator's word.
const KIND: &str = "gateway.bind";

/// An operator's statement about a user.
#[derive(Clone, Debug)]
pub struct Word {
    /// `sub_…` or `cus_…`
    pub subject: String,
    pub user: String,
    /// Who says it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// The result of the operator's word.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The id under which it is recorded.
    pub event_id: String,
    /// Whether the ledger knows the subscription. A customer is not looked up.
    pub known: bool,
}

/// Why a word was refused.
#[derive(Debug, thiserror::Error)]
pub enum BindRefused {
    /// It is neither a subscription nor a customer.
    #[error("`{0}` is neither a subscription (sub_…) nor a customer (cus_…)")]
    Subject(String),
    /// It is not an identifier, or not one that a user can have here.
    #[error("`{0}` cannot be a user's id: {1}")]
    User(String, &'static str),
    /// A tombstone keeps the word from taking effect.
    #[error(
        "the data of the {kind} `{id}` was erased on request, so that nothing is bound here: if the person has come back, run \
         `colony-gateway erase --{kind} {id} --forget` first"
    )]
    Erased {
        /// `user` or `customer`.
        kind: &'static str,
        id: String,
    },
    /// The ledger recorded it, but keeps what it had.
    #[error("the ledger answers {0}; nothing was changed")]
    NotApplied(&'static str),
    /// The ledger did not accept it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Records the word. It outranks everything that events say about the same subject, until another word.
pub async fn bind(
    config: &Config,
    ledger: &dyn StateOfRecord,
    clock: &Clock,
    word: Word,
) -> Result<Bound, BindRefused> {
    let rank = rank_of(&word.subject).ok_or_else(|| BindRefused::Subject(word.subject.clone()))?;
    let user = user_of(&word.user, config.revenue.uuid_users)?;
    let mut persons = vec![("user", Subject::user(&user))];
    if rank.is_of_customer() {
        persons.push(("customer", Subject::customer(&word.subject)));
    }
    for (kind, person) in persons {
        if let Ok(person) = person
            && ledger.find_person(&person).await?.erased_before
        {
            return Err(BindRefused::Erased { kind, id: person.id().to_owned() });
        }
    }
    let now = clock.now();
    let mut hash = Sha256::new();
    hash.update(format!("{}\n{user}\n{now}", word.subject));
    let event_id = format!("gateway:bind:{}", hex::encode(&hash.finalize()[..16]));
    let payload = json!({
        "id": event_id, "object": "event", "type": KIND, "created": now.seconds(),
        "data": {"object": {"id": word.subject, "metadata": {"user_id": user}}}, "by": word.by, "reason": word.reason,
    });
    let mut plan = Plan::new(EventFacts {
        id: EventId::new(&event_id),
        kind: KIND.to_owned(),
        account: None,
        livemode: true,
        created: now,
        api_version: None,
        object_id: Some(word.subject.clone()),
        payload: RawJson::from_value(&payload),
    });
    let event = EventId::new(&event_id);
    let version =
        Version { standing: Standing::Final, at: now, rank: Rank::Released, progress: 0, event, rendering: None };
    let evidence = "operator".to_owned();
    plan.claims.push(ClaimRow { subject: word.subject.clone(), user_id: user, rank, evidence, version });
    let outcomes = ledger.apply(&[Verdict::Apply(Box::new(plan))]).await?;
    match outcomes.first() {
        Some(Outcome::Applied) => {}
        other => return Err(BindRefused::NotApplied(other.map_or("nothing", Outcome::as_str))),
    }
    let known = rank.is_of_customer() || !ledger.subscription_facts(&[word.subject]).await?.is_empty();
    Ok(Bound { event_id, known })
}

fn rank_of(subject: &str) -> Option<ClaimRank> {
    let fits = |prefix: &str| {
        subject.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && subject.len() <= 255 && rest.bytes().all(|byte| byte.is_ascii_graphic())
        })
    };
    if fits("sub_") {
        Some(ClaimRank::Operator)
    } else if fits("cus_") {
        Some(ClaimRank::OperatorOfCustomer)
    } else {
        None
    }
}

fn user_of(text: &str, uuids: bool) -> Result<String, BindRefused> {
    let refused = |why| BindRefused::User(text.to_owned(), why);
    let value = serde_json::Value::String(text.to_owned());
    let user = metadata::user_id(Object::new(&value))
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| refused("it must be one printable word of at most 255 bytes, and not such as `null`"))?;
    if uuids && !metadata::is_uuid(&user) {
        return Err(refused("it is no UUID, and GATEWAY_USER_IDS says that users are"));
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_about_a_subscription_or_a_customer() {
        assert_eq!(rank_of("sub_1"), Some(ClaimRank::Operator));
        assert_eq!(rank_of("cus_1"), Some(ClaimRank::OperatorOfCustomer));
        for subject in ["", "sub_", "in_1", "sub_ 1", "user_1", &format!("sub_{}", "x".repeat(255))] {
            assert_eq!(rank_of(subject), None, "{subject}");
        }
    }

    #[test]
    fn a_user_is_what_events_would_name_too() {
        assert_eq!(user_of(" auth0|5 ", false).unwrap(), "auth0|5");
        for (user, uuids) in [("null", false), ("a b", false), ("user_1", true)] {
            assert!(matches!(user_of(user, uuids), Err(BindRefused::User(..))), "{user}");
        }
    }
}
