//! What `dev` gives a person to solve in its console: an event that a rule holds, a subscription that two users claim, and a bee that
//! dies with a job in its hands. All of it goes the way that real events and jobs go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use colonies::client::{Assignment, Member, Owner};
use reqwest::Url;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::DEV_SECRET;
use crate::cli::send::post;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::secret::Secret;
use stripe_events::simulator::{ApiVersion, SampleOptions, Tier, sample};

/// A user who paid but has no access, because a rule holds the event.
const HELD: &str = "lea";

/// Two users whom the same customer names.
const CLAIMANTS: [&str; 2] = ["marc", "nora"];

/// The executor that takes one job and is never heard of again.
const DEAD_BEE: &str = "bee-that-died";

/// How often the dying bee asks for a job, each time for a second.
const ASKS_MAX: u32 = 60;

/// Makes the problems.
pub(super) struct Problems {
    pub(super) url: Url,
    pub(super) clock: Clock,
    /// Nothing without a colony.
    pub(super) bee: Option<DyingBee>,
    /// Events of these problems that the gateway took.
    pub(super) taken: Arc<AtomicU64>,
}

/// A bee that is registered like the others, and does nothing with what it takes.
pub(super) struct DyingBee {
    pub(super) owner: Owner,
    pub(super) member: Member,
    pub(super) executor_type: String,
}

impl Problems {
    /// Makes them, or gives up when the gateway stops.
    ///
    /// # Errors
    /// If the gateway or the colony does not accept them.
    pub(super) async fn make(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            made = self.make_all() => made.context("the problems to solve cannot be made"),
            () = stop.cancelled() => Ok(()),
        }
    }

    async fn make_all(&self) -> anyhow::Result<()> {
        for body in events(self.clock.now())? {
            let answer = post(&self.url, &[Secret::new(DEV_SECRET)], body, &self.clock).await?;
            anyhow::ensure!(answer.status.is_success(), "the gateway answers {}: {}", answer.status, answer.body);
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        match &self.bee {
            Some(bee) => bee.take_a_job_and_die().await,
            None => Ok(()),
        }
    }
}

impl DyingBee {
    /// Another bee gets the job when the lease is over.
    async fn take_a_job_and_die(&self) -> anyhow::Result<()> {
        self.owner.add_executor(DEAD_BEE, &self.executor_type, self.member.id()).await?;
        self.owner.approve_executor(DEAD_BEE).await?;
        for _ in 0..ASKS_MAX {
            if let Assignment::Process(_) = self.member.assign(Duration::from_secs(1)).await? {
                break;
            }
        }
        Ok(())
    }
}

/// The bodies of the events, in the order in which they happened.
fn events(now: Timestamp) -> anyhow::Result<Vec<Vec<u8>>> {
    let [one, other] = CLAIMANTS;
    let made = [
        // Stripe never sends an object of live mode in an event of test mode.
        event("customer.subscription.created", HELD, now, |object| {
            object["livemode"] = json!(true);
            object["status"] = json!("active");
        }),
        event("customer.created", one, now, |_| {}),
        event("customer.updated", one, now, |object| object["metadata"] = json!({"userId": other})),
        event("customer.subscription.created", one, now, |object| {
            object["metadata"] = json!({});
            object["status"] = json!("active");
        }),
    ];
    made.into_iter().collect()
}

fn event(kind: &str, user: &str, now: Timestamp, change: impl FnOnce(&mut Value)) -> anyhow::Result<Vec<u8>> {
    let options = SampleOptions {
        seed: fastrand::u64(..),
        now,
        user: user.to_owned(),
        tier: Some(Tier::Gold),
        api_version: ApiVersion::Dahlia,
        livemode: false,
        account: None,
    };
    let made = sample(kind, options).with_context(|| format!("there is no sample of {kind}"))?;
    let mut event: Value = serde_json::from_slice(&made.body)?;
    change(&mut event["data"]["object"]);
    Ok(serde_json::to_vec(&event)?)
}
