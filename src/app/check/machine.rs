//! This machine: its disk and its clock.

use std::time::Duration;

use reqwest::header::DATE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Diagnosis;
use crate::config::Config;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::lasting;
use crate::domain::{disk, private};
use crate::outbound;

/// With less room than this, the disk needs attention.
const ROOM_LOW: u64 = 1 << 30;

/// With less room than this, webhooks are about to be refused.
const ROOM_NONE: u64 = 64 << 20;

/// Clocks may differ by this much; a Date header has whole seconds.
const SKEW_MAX: Duration = Duration::from_secs(30);

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

const MIB: u64 = 1 << 20;

pub(super) fn disk(config: &Config) -> Diagnosis {
    const NAME: &str = "disk";
    let directory = &config.inbox.data_dir;
    match disk::room(directory) {
        Err(_) if !directory.exists() => Diagnosis::none(NAME, format!("{} is not there yet", directory.display())),
        Err(error) => Diagnosis::degraded(NAME, format!("{}: {error}", directory.display()), "check GATEWAY_DATA_DIR"),
        Ok(room) => {
            let detail = format!("{} MiB free of {} in {}", room.free / MIB, room.total / MIB, directory.display());
            match room.free {
                free if free < ROOM_NONE => Diagnosis::down(NAME, detail, "free space: webhooks will soon be refused"),
                free if free < ROOM_LOW => Diagnosis::degraded(NAME, detail, "free space, or shorten the retention"),
                _ => Diagnosis::ok(NAME, detail),
            }
        }
    }
}

/// Whether other users of this machine can read files with customers' data.
pub(super) fn files(config: &Config) -> Diagnosis {
    const NAME: &str = "files";
    let directory = &config.inbox.data_dir;
    match private::exposed_files(directory) {
        Err(_) if !directory.exists() => Diagnosis::none(NAME, format!("{} is not there yet", directory.display())),
        Err(error) => Diagnosis::degraded(NAME, format!("{}: {error}", directory.display()), "check GATEWAY_DATA_DIR"),
        Ok(exposed) => match exposed.as_slice() {
            [] => Diagnosis::ok(NAME, format!("only their owner can read the files in {}", directory.display())),
            [(first, mode), rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                let detail = format!("others can read or change {} (mode {mode:04o}){more}", first.display());
                Diagnosis::degraded(NAME, detail, format!("chmod -R go= {}", directory.display()))
            }
        },
    }
}

/// Compares this clock with that of Stripe, or of the Colonies server.
pub(super) async fn clock(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    const NAME: &str = "clock";
    let colony = config.colony.servers.as_deref().filter(|_| config.colony.tls_roots.is_none());
    let colony = colony.and_then(|servers| {
        let servers = colonies::client::ServerUrl::parse_list(servers, config.colony.port, config.colony.tls);
        servers.ok()?.first().map(|server| format!("{server}/health"))
    });
    let stripe = config.stripe.key.as_ref().map(|_| config.stripe.base_url.clone());
    let places: Vec<String> = stripe.into_iter().chain(colony).collect();
    if places.is_empty() {
        return vec![Diagnosis::none(
            NAME,
            "there is nothing to compare the clock with: neither STRIPE_SECRET_KEY nor a colony is set",
        )];
    }
    for place in places {
        let Some(theirs) = date_at(&place).await else { continue };
        let ours = clock.now();
        let skew = ours.since(theirs).max(theirs.since(ours));
        let detail = format!("{} from that of {place}", lasting(skew));
        let action = "set the clock (NTP): signatures and attestations are refused when it is off by minutes";
        return vec![match skew {
            skew if skew > Duration::from_mins(4) => Diagnosis::down(NAME, detail, action),
            skew if skew > SKEW_MAX => Diagnosis::degraded(NAME, detail, action),
            _ => Diagnosis::ok(NAME, detail),
        }];
    }
    vec![Diagnosis::none(NAME, "no server gave the time")]
}

/// The time of a server, whatever its answer is.
async fn date_at(url: &str) -> Option<Timestamp> {
    let mut client = outbound::client(ANSWER_MAX);
    if url.starts_with("http://") {
        client = client.no_proxy();
    }
    let answer = client.build().ok()?.get(url).send().await.ok()?;
    // HTTP writes GMT, and RFC 2822 requires an offset or one of its zone names, which include GMT.
    let date = OffsetDateTime::parse(answer.headers().get(DATE)?.to_str().ok()?, &Rfc2822).ok()?;
    Some(Timestamp::from_seconds(date.unix_timestamp()))
}
