//! Users of payers whom no event names: the real checkout puts their ids on the session alone, and sessions older than a month are
//! in no event that Stripe still lists. Stripe keeps the sessions, and the predecessor's rows name them, too.
//!
//! Each is recorded as a claim, like what an event says, under an id of a form that Stripe does not use: a session's metadata
//! weighs what it weighs in an event, an old row less than all else. Running it again says the same once more.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::EventId;
use crate::ledger::LedgerError;
use crate::ledger::report::{REPORT_LINES_MAX, Reason, StateOfRecord, Unowned};
use crate::ledger::shadow::OldOwner;
use crate::revenue::rows::{ClaimRank, ClaimRow, EventFacts, Rank, RawJson, Standing, Version};
use crate::revenue::verdict::{Plan, Verdict};
use crate::stripe::api::{ApiError, Scope, StripeApi};
use crate::stripe::metadata;
use crate::stripe::object::Object;

/// The event type under which the ledger records such evidence.
const KIND: &str = "gateway.evidence";

/// Time for the sessions of one subscription.
const SESSION_TIME_MAX: Duration = Duration::from_secs(20);

/// Claims that are recorded in one batch.
const BATCH_MAX: usize = 200;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Claims from Stripe's sessions.
    pub sessions: u64,
    /// Claims from rows of the old tables.
    pub rows: u64,
    /// Subscriptions about whose sessions Stripe did not answer; the reason of the last is in `fault`.
    pub unasked: u64,
    /// Why.
    pub fault: Option<String>,
    /// Subscriptions that are paid for but still name no user, those of greatest preference first; at most
    /// [`REPORT_LINES_MAX`].
    pub left: Vec<Unowned>,
    /// How many there are, including those beyond that bound.
    pub left_total: u64,
}

/// Why the search broke off.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The ledger did not answer, or did not accept the claims.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The settings do not give a client.
    #[error(transparent)]
    Start(#[from] super::StartError),
}

/// Searches for users, first in Stripe's sessions if there is a key, then in the old tables, and records what it finds.
pub async fn gather(config: &Config, ledger: &dyn StateOfRecord, clock: &Clock) -> Result<Gathered, EvidenceError> {
    let mut gathered = Gathered::default();
    let mut claims = Vec::new();
    if let Some(api) = super::pipeline::stripe(config, clock)? {
        for one in unnamed(ledger).await?.0 {
            match from_sessions(config, &api, &one).await {
                Ok(claim) => claims.extend(claim),
                Err(error) => {
                    gathered.unasked += 1;
                    gathered.fault = Some(error.to_string());
                }
            }
        }
    }
    gathered.sessions = claims.len() as u64;
    record(ledger, claims).await?;
    let old: Vec<Claim> =
        ledger.old_owners().await?.into_iter().filter_map(|owner| from_row(config, owner, clock.now())).collect();
    gathered.rows = old.len() as u64;
    record(ledger, old).await?;
    (gathered.left, gathered.left_total) = unnamed(ledger).await?;
    Ok(gathered)
}

/// Evidence about a user.
struct Claim {
    subject: String,
    user: String,
    rank: ClaimRank,
    evidence: String,
    at: Timestamp,
    livemode: bool,
    account: Option<String>,
}

/// Subscriptions that name no user, as many as a report lists, and their number.
async fn unnamed(ledger: &dyn StateOfRecord) -> Result<(Vec<Unowned>, u64), LedgerError> {
    let attention = ledger.attention(REPORT_LINES_MAX).await?;
    let total = attention.reasons.get(&Reason::Unnamed).copied().unwrap_or(0);
    let mut found = attention.unowned;
    found.retain(|one| one.reason == Reason::Unnamed);
    Ok((found, total))
}

async fn from_sessions(config: &Config, api: &StripeApi, one: &Unowned) -> Result<Option<Claim>, ApiError> {
    let scope = Scope { account: one.account.clone(), ..Scope::default() };
    let page = api.sessions_of(&one.id, &scope, SESSION_TIME_MAX).await?;
    let revenue = &config.revenue;
    for object in &page.objects {
        let session = Object::new(object);
        // An expired session bought nothing, and one of another subscription says nothing about this one.
        if session.at("subscription").id() != Some(one.id.as_str()) || session.at("status").word() == Some("expired") {
            continue;
        }
        let by_seller = revenue.user_fields.user(session.at("metadata")).map(|user| {
            (user.id.into_owned(), ClaimRank::Session, format!("checkout.session.metadata.{}", user.field))
        });
        let by_reference = metadata::user_id(session.at("client_reference_id"))
            .filter(|_| revenue.references_name_users)
            .map(|id| (id.into_owned(), ClaimRank::Reference, "checkout.session.client_reference_id".to_owned()));
        let mut named = by_seller.into_iter().chain(by_reference);
        if let Some((user, rank, evidence)) = named.find(|(user, ..)| is_user(config, user)) {
            let at = session.at("created").time().unwrap_or(page.began);
            let (livemode, account) = (one.livemode, one.account.clone());
            return Ok(Some(Claim { subject: one.id.clone(), user, rank, evidence, at, livemode, account }));
        }
    }
    Ok(None)
}

fn from_row(config: &Config, owner: OldOwner, now: Timestamp) -> Option<Claim> {
    let OldOwner { subject, user_id: user, place } = owner;
    let rank = if subject.starts_with("cus_") { ClaimRank::PredecessorOfCustomer } else { ClaimRank::Predecessor };
    is_user(config, &user).then_some(Claim {
        subject,
        user,
        rank,
        evidence: place,
        at: now,
        livemode: true,
        account: None,
    })
}

fn is_user(config: &Config, text: &str) -> bool {
    !config.revenue.uuid_users || metadata::is_uuid(text)
}

async fn record(ledger: &dyn StateOfRecord, claims: Vec<Claim>) -> Result<(), LedgerError> {
    let mut seen = BTreeSet::new();
    let verdicts: Vec<Verdict> = claims
        .into_iter()
        .map(plan)
        .filter(|plan| seen.insert(plan.event.id.as_str().to_owned()))
        .map(|plan| Verdict::Apply(Box::new(plan)))
        .collect();
    for batch in verdicts.chunks(BATCH_MAX) {
        ledger.apply(batch).await?;
    }
    Ok(())
}

fn plan(claim: Claim) -> Plan {
    let Claim { subject, user, rank, evidence, at, livemode, account } = claim;
    let mut hash = Sha256::new();
    hash.update(format!("{subject}\n{user}\n{evidence}"));
    let id = format!("gateway:evidence:{}", hex::encode(&hash.finalize()[..16]));
    let payload = json!({
        "id": id, "object": "event", "type": KIND, "created": at.seconds(),
        "data": {"object": {"id": subject, "metadata": {"user_id": user}}}, "evidence": evidence,
    });
    let mut plan = Plan::new(EventFacts {
        id: EventId::new(&id),
        kind: KIND.to_owned(),
        account,
        livemode,
        created: at,
        api_version: None,
        object_id: Some(subject.clone()),
        payload: RawJson::from_value(&payload),
    });
    let version = Version {
        standing: Standing::Current,
        at,
        rank: Rank::Updated,
        progress: 0,
        event: EventId::new(&id),
        rendering: None,
    };
    plan.claims.push(ClaimRow { subject, user_id: user, rank, evidence, version });
    plan
}
