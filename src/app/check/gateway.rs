//! The gateway on this machine, and its inbox: from the running process, or from its file or database when none runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::inbox::{entries, judge};
use super::{ACCESS, Diagnosis};
use crate::app::signatures::COMPONENT as SIGNATURES;
use crate::config::Config;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::inbox::{self, Counts};

/// Longest wait for an answer of the gateway.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// Components of the process that the report checks itself, and reports in separate lines.
const TOLD_BELOW: [(&str, &str); 3] = [(ACCESS, ACCESS), ("problems", "inbox"), (SIGNATURES, SIGNATURES)];

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    const NAME: &str = "gateway";
    let address = config.http.admin_listen;
    let Some((_, health)) = ask(address, "/health").await else {
        let is_bare = config.endpoints.is_empty() && !config.colony.enabled;
        let gateway = if is_bare {
            let action = "run this with the gateway's environment or --config, or set STRIPE_WEBHOOK_SECRET";
            Diagnosis::degraded(
                NAME,
                "no gateway is set up here: there is neither a webhook secret nor a colony, and nothing answers",
                action,
            )
        } else if config.endpoints.is_empty() {
            Diagnosis::none(NAME, "no webhook secret here: this machine receives none")
        } else {
            let action = "start it (`colony-gateway serve`), or check GATEWAY_ADMIN_LISTEN if it runs";
            Diagnosis::down(NAME, format!("stopped: nothing answers at {address}"), action)
        };
        return vec![gateway, stopped(config, clock).await];
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&health["version"]);
    let detail = match health.get("route") {
        Some(route) => format!("version {version}, route {}, at {address}", text(route)),
        None => format!("version {version}, bees alone, at {address}"),
    };
    let mut gateway = match health["status"].as_str() {
        Some("ok") => Diagnosis::ok(NAME, detail),
        Some("degraded") => Diagnosis::degraded(NAME, troubles(&health), "see the components below, and the log"),
        _ => Diagnosis::down(NAME, troubles(&health), "see the log of the gateway"),
    };
    if version != env!("CARGO_PKG_VERSION") {
        let detail = format!("{}; this program is {}", gateway.detail, env!("CARGO_PKG_VERSION"));
        gateway = Diagnosis { status: gateway.status.max(super::CheckStatus::Degraded), detail, ..gateway };
        gateway.action.get_or_insert_with(|| "restart the gateway to run the installed version".to_owned());
    }
    let inbox = match health.get("inbox") {
        Some(inbox) => running(inbox),
        None => Diagnosis::none("inbox", "bees have none"),
    };
    let owners = health["components"][crate::app::owner_keys::COMPONENT]["detail"].as_str().map(|detail| {
        let action = "take them out of the service's settings; `colony setup`, `migrate` and few other commands need them, for a \
                      moment";
        Diagnosis::degraded("owner keys", detail, action)
    });
    let in_trouble = |name: &'static str, action: &str| {
        let component = &health["components"][name];
        let is_bad = component.is_object() && component["status"] != "ok";
        is_bad.then(|| Diagnosis::degraded(name, text(&component["detail"]), action))
    };
    let access = in_trouble(ACCESS, "`colony-gateway inbox problems` says what to do for each");
    let signatures = in_trouble(
        SIGNATURES,
        "look at the endpoint in Stripe's dashboard: if its deliveries fail with 400, give the gateway that endpoint's signing \
         secret; if they do not, the posts are forged and do no harm; docs/runbook.md, \"Bad signatures\"",
    );
    [gateway, inbox].into_iter().chain(owners).chain(access).chain(signatures).collect()
}

/// The process's components that have trouble.
fn troubles(health: &Value) -> String {
    let components = health["components"].as_object().into_iter().flatten();
    let bad = components.filter(|(_, component)| component["status"] != "ok");
    let tell = |(name, component): (&String, &Value)| {
        if let Some((_, row)) = TOLD_BELOW.iter().find(|(component, _)| component == name) {
            return format!("{name} (see {row} below)");
        }
        format!("{name}: {}", component["detail"].as_str().unwrap_or_default())
    };
    let bad: Vec<String> = bad.map(tell).collect();
    let waiting = health["waiting_for"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let waiting = waiting.map(|latch| format!("waits for {latch}"));
    let all: Vec<String> = bad.into_iter().chain(waiting).collect();
    if all.is_empty() { "not ready".to_owned() } else { all.join("; ") }
}

fn running(inbox: &Value) -> Diagnosis {
    let count = |name: &str| inbox[name].as_u64().unwrap_or_default();
    if inbox.is_null() || inbox["writable"] == false {
        let action = "free space on its disk, or repair the disk or the database; Stripe repeats refused webhooks";
        return Diagnosis::down("inbox", "the inbox takes no writes: webhooks get 503", action);
    }
    let backlog = count("waiting") + count("leased") + count("submitted");
    let oldest = inbox["oldest_seconds"].as_f64().map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
    judge(backlog, oldest, count("dead"), count("quarantined"))
}

async fn stopped(config: &Config, clock: &Clock) -> Diagnosis {
    const NAME: &str = "inbox";
    if let Some(found) = entries(config, clock).await {
        return found;
    }
    let directory = config.inbox.data_dir.clone();
    if !directory.join(inbox::FILE_NAME).exists() {
        return Diagnosis::none(NAME, format!("none in {}", directory.display()));
    }
    match tokio::task::spawn_blocking(move || inbox::counts_in(&directory)).await {
        Ok(Ok(counts)) => {
            let Counts { dead, quarantined, .. } = counts;
            let mut finding = judge(counts.backlog(), None, dead, quarantined);
            finding.detail.push_str(" (read from the file; no gateway runs on it)");
            finding
        }
        Ok(Err(error)) => Diagnosis::down(NAME, chain(&error), "follow docs/runbook.md, \"Inbox damaged\""),
        Err(_) => Diagnosis::down(NAME, "cannot be read", "see the log"),
    }
}

async fn ask(address: SocketAddr, path: &str) -> Option<(u16, Value)> {
    let client = crate::outbound::client(ANSWER_MAX).no_proxy().build().ok()?;
    let answer = client.get(format!("http://{}{path}", local(address))).send().await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
}

/// The address of a listener from this machine.
pub(super) fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
