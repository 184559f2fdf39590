//! The event that is sent: made by its type, and changed field by field.

use std::str::FromStr;

use anyhow::Context as _;
use serde_json::Value;

use crate::config::did_you_mean;
use crate::domain::clock::Clock;
use stripe_events::envelope::Envelope;
use stripe_events::simulator::{ApiVersion, SAMPLE_TYPES, SampleOptions, Tier, sample};

/// The user of events that name no user.
const USER: &str = "ada";

/// What to make.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct EventArgs {
    /// Type of the event, such as invoice.paid.
    #[arg(value_name = "TYPE")]
    pub(super) kind: Option<String>,

    /// The application's user that the event is about.
    #[arg(long, default_value = USER)]
    user: String,

    /// What is bought: bronze, silver or gold.
    #[arg(long, value_parser = tier)]
    tier: Option<Tier>,

    /// API version of the event: its name or release.
    #[arg(long, default_value = "dahlia")]
    api_version: ApiVersion,

    /// Make an event of live mode.
    #[arg(long, conflicts_with = "file")]
    livemode: bool,

    /// Connected account that the event belongs to, acct_….
    #[arg(long, conflicts_with = "file")]
    account: Option<String>,
}

impl EventArgs {
    /// Whether a type was given.
    pub(super) const fn is_named(&self) -> bool {
        self.kind.is_some()
    }

    /// The user that the event is about.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The body of the event.
    pub(super) fn make(&self, changes: &[Change], clock: &Clock) -> anyhow::Result<Vec<u8>> {
        let kind = self.kind.as_deref().context("name a type, such as invoice.paid, or a --file")?;
        if !SAMPLE_TYPES.contains(&kind) {
            let meant = did_you_mean(kind, SAMPLE_TYPES);
            anyhow::bail!(
                "cannot make {kind}{meant} The types are:\n  {}\nSend any other with --file",
                SAMPLE_TYPES.join("\n  ")
            );
        }
        let options = SampleOptions {
            seed: fastrand::u64(..),
            now: clock.now(),
            user: self.user.clone(),
            tier: self.tier,
            api_version: self.api_version,
            livemode: self.livemode,
            account: self.account.clone(),
        };
        let made = sample(kind, options);
        let made = made.with_context(|| {
            format!("there is no {kind} in API version {}: name another with --api-version", self.api_version)
        })?;
        if changes.is_empty() {
            return Ok(made.body.to_vec());
        }
        let mut event: Value = serde_json::from_slice(&made.body)?;
        set(&mut event, changes)?;
        Ok(serde_json::to_vec_pretty(&event)?)
    }
}

fn tier(text: &str) -> Result<Tier, String> {
    Tier::ALL.into_iter().find(|tier| tier.as_str() == text).ok_or_else(|| "must be bronze, silver or gold".to_owned())
}

/// A field of the event's object and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    path: Vec<String>,
    value: Value,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("must be PATH=VALUE, such as metadata.order=7")?;
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err("must begin with a path such as status or metadata.order".to_owned());
        }
        // At Stripe, values of metadata are always text, whatever they look like.
        let is_metadata = path.len() > 1 && path[path.len() - 2] == "metadata";
        let read = serde_json::from_str(value).ok().filter(|_| !is_metadata);
        Ok(Self { path, value: read.unwrap_or_else(|| Value::from(value)) })
    }
}

/// Changes fields of the event's object. A number in a path is a place in an existing list.
pub(super) fn set(event: &mut Value, changes: &[Change]) -> anyhow::Result<()> {
    for change in changes {
        let shown = change.path.join(".");
        let mut place =
            event.pointer_mut("/data/object").context("--set needs an event with an object (data.object)")?;
        for step in &change.path {
            place = match place {
                Value::Array(items) => {
                    let item = step.parse::<usize>().ok().and_then(|number| items.get_mut(number));
                    item.with_context(|| format!("--set {shown}: the list has no place {step}"))?
                }
                Value::Object(fields) => fields.entry(step.as_str()).or_insert(Value::Null),
                Value::Null => {
                    *place = Value::Object(serde_json::Map::new());
                    &mut place[step.as_str()]
                }
                _ => anyhow::bail!("--set {shown}: there is nothing below a plain value for {step} to be in"),
            };
        }
        *place = change.value.clone();
    }
    Ok(())
}

/// Refuses a text that is no event. The gateway would store it and hold it for a person.
pub(super) fn require(body: &[u8]) -> anyhow::Result<()> {
    const WANTED: &str =
        "an event has an `id`, a `type` and the `object` \"event\", as `stripe events retrieve` or --print writes it";
    let value: Value = serde_json::from_slice(body).context("it is not JSON")?;
    let Some(fields) = value.as_object() else { anyhow::bail!("it is JSON, but no object: {WANTED}") };
    match fields.get("object").and_then(Value::as_str) {
        Some("event" | "v2.core.event") => {}
        Some("list") => anyhow::bail!("it is a list: save one of its events alone"),
        Some(object) => anyhow::bail!("it is one {object}, not an event about it: {WANTED}"),
        None => anyhow::bail!("it says no `object`: {WANTED}"),
    }
    Envelope::read(body).map(drop).with_context(|| format!("it cannot be read: {WANTED}"))
}

/// Gives the event a new id and the present as its time.
pub(super) fn refresh(event: &mut Value, clock: &Clock) -> anyhow::Result<()> {
    let fields = event.as_object_mut().context("the file holds no event")?;
    let id: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
    fields.insert("id".to_owned(), Value::from(format!("evt_{id}")));
    let created = clock.now();
    // Thin events have their time as text.
    let created = if fields.get("created").is_some_and(Value::is_string) {
        Value::from(created.to_string())
    } else {
        Value::from(created.seconds())
    };
    fields.insert("created".to_owned(), created);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(changes: &[&str]) -> anyhow::Result<Value> {
        let mut event = json!({"data": {"object": {"status": "active", "items": [{"quantity": 1}], "metadata": {}}}});
        let changes: Vec<Change> = changes.iter().map(|text| text.parse().unwrap()).collect();
        set(&mut event, &changes)?;
        Ok(event["data"]["object"].take())
    }

    #[test]
    fn fields_are_set_by_path_as_json_or_as_text() {
        let object =
            changed(&["status=past_due", "metadata.order=7", "items.0.quantity=3", "a.b=[1]", "c=x y"]).unwrap();
        assert_eq!(
            object,
            json!({"status": "past_due", "items": [{"quantity": 3}], "metadata": {"order": "7"}, "a": {"b": [1]}, "c": "x y"})
        );
    }

    #[test]
    fn a_change_that_cannot_be_made_says_why() {
        assert!(changed(&["items.1.quantity=3"]).unwrap_err().to_string().contains("no place 1"));
        assert!(changed(&["status.x=3"]).unwrap_err().to_string().contains("status.x"));
        for text in ["status", "=1", "a..b=1"] {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_event_is_refused_with_what_it_is() {
        for (text, why) in [
            ("", "it is not JSON"),
            ("[]", "no object"),
            ("{}", "it says no `object`"),
            (r#"{"object": "list", "data": []}"#, "save one of its events alone"),
            (r#"{"object": "invoice", "id": "in_1"}"#, "it is one invoice"),
            (r#"{"object": "event", "id": "evt_1"}"#, "it cannot be read"),
        ] {
            let error = require(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        require(br#"{"object": "event", "id": "evt_1", "type": "invoice.paid"}"#).unwrap();
        require(br#"{"object": "v2.core.event", "id": "evt_1", "type": "v1.customer.created"}"#).unwrap();
    }

    #[test]
    fn a_fresh_event_is_another_one_of_now() {
        let clock = Clock::manual(crate::domain::clock::Timestamp::from_seconds(1_700_000_000));
        let mut event = json!({"id": "evt_1", "created": 5, "type": "x"});
        refresh(&mut event, &clock).unwrap();
        assert_eq!(event["created"], 1_700_000_000);
        assert!(event["id"].as_str().is_some_and(|id| id.len() == 28 && id != "evt_1"));
    }
}
