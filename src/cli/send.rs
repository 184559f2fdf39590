//! `send`: one signed event to a webhook endpoint, made by its type or taken from a file, and what came back.

mod event;

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use super::MISCONFIGURED;
use super::admin::local;
use crate::config::{Config, Sources};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::outbound;
use event::{Change, EventArgs};
use stripe_events::simulator::sign_all;

/// Longest wait for the answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Most bytes that are read from an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of a file: more than Stripe sends.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub const NOTES: &str = "Events of one --user are about one customer and one subscription, so that you can send
customer.subscription.created, invoice.paid and customer.subscription.deleted one after the other.

  colony-gateway send invoice.paid --user ada --set metadata.order=7
  colony-gateway send --file event.json --url https://example.com/webhooks/stripe --secret whsec_…
  colony-gateway send customer.subscription.created --user ada --tier gold --print

--set takes a path below the event's object; the type's other fields are those of a simulated story.

Exit codes:
  0  the endpoint took it (2xx)
  1  the endpoint refused it or did not answer, or the file holds no event
  2  the command line or the configuration is refused";

#[derive(Clone, Debug, clap::Args)]
pub struct SendArgs {
    #[command(flatten)]
    event: EventArgs,

    /// Send the event that this file holds, byte for byte; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "user", "tier", "api_version"])]
    file: Option<PathBuf>,

    /// Give the event of the file a new id and the present as its time, so that it is no duplicate.
    #[arg(long, requires = "file")]
    fresh: bool,

    /// Change a field of the event's object, such as `status=past_due` or `metadata.order=7`. A value
    /// that is JSON is taken as such, and any other as text.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    changes: Vec<Change>,

    /// Endpoint to post to. Without it, the gateway of this machine (`GATEWAY_LISTEN`).
    #[arg(long)]
    url: Option<Url>,

    /// Signing secret of the endpoint, whsec_…. Without it, the configured one (`STRIPE_WEBHOOK_SECRET`).
    #[arg(long)]
    secret: Option<String>,

    /// File that holds the signing secret.
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,

    /// Print the event, and send nothing.
    #[arg(long, conflicts_with_all = ["url", "secret", "secret_file", "json"])]
    print: bool,

    /// Print what was sent and what came back as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes the event, sends it, and prints the answer.
pub async fn run(args: SendArgs, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    if args.file.is_none() && !args.event.is_named() {
        eprintln!("error: name a type, such as invoice.paid, or the file of an event with --file");
        return Ok(ExitCode::from(MISCONFIGURED));
    }
    let body = match &args.file {
        Some(file) => {
            let body = from_file(file, &args, clock)?;
            event::require(&body).with_context(|| {
                let place = if file.as_os_str() == "-" { "standard input".into() } else { file.to_string_lossy() };
                format!("nothing was sent: there is no event in {place}")
            })?;
            body
        }
        None => args.event.make(&args.changes, clock)?,
    };
    if args.print {
        let mut out = std::io::stdout().lock();
        out.write_all(&body)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = crate::cli::tools(sources)?;
    let secrets = secrets(&args, sources)?;
    let url = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://{}/webhooks/stripe", local(config.http.listen)).parse()?,
    };
    anyhow::ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        "cannot post to {url}: give an http:// or https:// URL with a host"
    );
    let answer = post(&url, &secrets, body.clone(), clock).await?;
    // The ledger of a gateway elsewhere is unknown here, and so are the users of an event from a file.
    let user = (args.url.is_none() && args.file.is_none()).then(|| args.event.user());
    tell(&body, &url, &answer, (args.json, user))?;
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The event of a file. It is changed only where asked, because a signature is over bytes.
fn from_file(file: &PathBuf, args: &SendArgs, clock: &Clock) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin()
            .lock()
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut body)
            .context("cannot read standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        opened
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut body)
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    anyhow::ensure!(
        body.len() as u64 <= FILE_BYTES_MAX,
        "the event is larger than 4 MiB: Stripe sends no event of that size"
    );
    if !args.fresh && args.changes.is_empty() {
        return Ok(body);
    }
    let mut event: Value = serde_json::from_slice(&body).context("the file holds no JSON")?;
    if args.fresh {
        event::refresh(&mut event, clock)?;
    }
    event::set(&mut event, &args.changes)?;
    Ok(serde_json::to_vec_pretty(&event)?)
}

/// The secrets to sign with: a given one, or all that the configuration has, as Stripe does during a roll.
fn secrets(args: &SendArgs, sources: &Sources) -> anyhow::Result<Vec<Secret>> {
    let text = match (&args.secret, &args.secret_file) {
        (Some(secret), _) => Some(Secret::new(secret.as_str())),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Some(Secret::new(text.as_str()))
        }
        (None, None) => Config::secret(sources, "STRIPE_WEBHOOK_SECRET")?,
    };
    let text = text.context(
        "there is no secret to sign with: set STRIPE_WEBHOOK_SECRET to the gateway's value, or give --secret or \
         --secret-file",
    )?;
    let items = text.expose().split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    let secrets: Vec<Secret> = items.map(Secret::new).collect();
    anyhow::ensure!(!secrets.is_empty(), "the signing secret is empty");
    Ok(secrets)
}

/// What the endpoint said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

/// Posts one body as Stripe does.
pub(super) async fn post(url: &Url, secrets: &[Secret], body: Vec<u8>, clock: &Clock) -> anyhow::Result<Answer> {
    let mut client = outbound::client(ANSWER_MAX);
    if url.scheme() == "http" {
        // No certificates are needed, and a host on this machine is not behind a proxy.
        client = client.no_proxy().tls_certs_only([]);
    }
    let exposed: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    let signature = sign_all(&exposed, clock.now(), &body);
    let request = client
        .build()?
        .post(url.clone())
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", concat!("colony-gateway/", env!("CARGO_PKG_VERSION")))
        .header("stripe-signature", signature)
        .body(body);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => {
            anyhow::bail!(
                "{url} cannot be reached ({}): is the gateway running, and is that its address?",
                chain(&error.without_url())
            )
        }
        Err(error) => return Err(anyhow::Error::new(error.without_url()).context(format!("{url} did not answer"))),
    };
    let status = answer.status();
    let body = outbound::read(answer, ANSWER_BYTES_MAX).await.context("the answer broke off")?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn tell(sent: &[u8], url: &Url, answer: &Answer, (as_json, user): (bool, Option<&str>)) -> anyhow::Result<()> {
    let event: Value = serde_json::from_slice(sent).unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let (id, kind) = (word(&event["id"]), word(&event["type"]));
    let mut out = std::io::stdout().lock();
    if as_json {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| Value::from(answer.body.as_str()));
        let told =
            json!({"event": id, "type": kind, "url": url.as_str(), "status": answer.status.as_u16(), "answer": body});
        serde_json::to_writer_pretty(&mut out, &told)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "sent {kind} {id} to {url}")?;
    if let Some(customer) = event["data"]["object"]["customer"].as_str() {
        writeln!(out, "customer {customer}")?;
    }
    writeln!(out, "{} {}", answer.status, answer.body.trim())?;
    if answer.status.is_success() {
        writeln!(out, "`colony-gateway inbox show {id}` shows what happened to it")?;
        if let Some(user) = user {
            writeln!(out, "`colony-gateway person {user}` shows what the user has")?;
        }
    } else if answer.status == StatusCode::BAD_REQUEST {
        writeln!(
            out,
            "the endpoint refused the signature: check that this is its signing secret and that this machine's clock \
             is right"
        )?;
    }
    Ok(())
}
