//! `stripe setup`: the webhook endpoint at Stripe and its secret in a file, in one command.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Url;

use super::hidden;
use crate::app::stripe_setup::{EVENTS_MAPPED, EndpointAdmin, WebhookEndpoint};
use crate::app::stripe_setup::{SetupPlan, StripeSetup, fingerprints, make, plan, secrets_in};
use crate::config::Sources;
use crate::domain::secret::Secret;

/// Longest key that is read.
const KEY_BYTES_MAX: u64 = 1024;

pub const NOTES: &str = "The key needs write access to webhook endpoints and nothing else. Make it in Stripe's dashboard, and remove it there
afterwards. The command reads it from --key-file or from standard input, and stores it nowhere.

  colony-gateway stripe setup --url https://pay.example.com/webhooks/stripe --secret-file /etc/colony-gateway/stripe_webhook_secret

Point STRIPE_WEBHOOK_SECRET_FILE of the gateway to that file. A running gateway uses the secret within seconds. You can run the
command again at any time; it changes only what is not in order. --roll makes a second endpoint with a new secret, keeps both
secrets in the file, lets both endpoints send for --overlap and then disables the old one. The gateway applies each event once.";

/// What to do at Stripe.
#[derive(Clone, Debug, Subcommand)]
pub enum StripeCommand {
    /// Make or adopt the webhook endpoint with just the events that the gateway needs, and write its signing secret to a file.
    #[command(after_help = NOTES)]
    Setup(SetupArgs),
}

#[derive(Clone, Debug, Args)]
pub struct SetupArgs {
    /// Address that Stripe posts to, such as `https://pay.example.com/webhooks/stripe`.
    #[arg(long)]
    url: Url,

    /// File for the signing secret, readable only by its owner. Without it, the one that `STRIPE_WEBHOOK_SECRET_FILE` names.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// File that holds the key. Without it, the key is read from standard input.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Take the events of connected accounts.
    #[arg(long)]
    connect: bool,

    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Replace the signing secret, without a gap.
    #[arg(long)]
    roll: bool,

    /// Seconds for which both endpoints send while a secret is rolled.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    overlap: u64,
}

pub async fn run(command: StripeCommand, sources: &Sources) -> anyhow::Result<ExitCode> {
    let StripeCommand::Setup(args) = command;
    // This command makes the file, so it need not exist yet.
    let mut known = sources.clone();
    known.environment.remove("STRIPE_WEBHOOK_SECRET_FILE");
    let config = crate::cli::tools(&known)?;
    let configured = sources.environment.get("STRIPE_WEBHOOK_SECRET_FILE").map(|path| PathBuf::from(path.trim()));
    let secret_file = args.secret_file.clone().or(configured);
    let secret_file =
        secret_file.context("name the file for the secret with --secret-file, or set STRIPE_WEBHOOK_SECRET_FILE")?;
    let is_local = args.url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127."));
    anyhow::ensure!(args.url.scheme() == "https" || is_local, "Stripe posts only to https:// addresses");
    let admin = EndpointAdmin::new(key(&args)?, &config.stripe.base_url)?;
    let setup = StripeSetup {
        url: args.url.to_string(),
        secret_file,
        connect: args.connect,
        roll: args.roll,
        overlap: Duration::from_secs(args.overlap),
    };
    let secrets =
        secrets_in(&setup.secret_file).with_context(|| format!("cannot read {}", setup.secret_file.display()))?;
    let plan = plan(&setup, admin.list().await?, &fingerprints(&secrets));
    let mode = if admin.livemode() == Some(true) { "live mode" } else { "test mode" };
    say(&format!("{} in {mode}", setup.url))?;
    if args.dry_run {
        return tell(&setup, &plan);
    }
    carry_out(&admin, &setup, &plan).await
}

/// The key, used once and kept nowhere.
fn key(args: &SetupArgs) -> anyhow::Result<Secret> {
    let text = match &args.key_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None if std::io::stdin().is_terminal() => {
            hidden::ask("Stripe key with write access to webhook endpoints (not shown, kept nowhere): ")?
        }
        None => {
            let mut text = String::new();
            std::io::stdin().lock().take(KEY_BYTES_MAX).read_to_string(&mut text)?;
            text
        }
    };
    let key = Secret::new(text.trim());
    anyhow::ensure!(!key.expose().is_empty(), "no key was given: put it into a file for --key-file, or pipe it in");
    Ok(key)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn tell(setup: &StripeSetup, plan: &SetupPlan) -> anyhow::Result<ExitCode> {
    let file = setup.secret_file.display();
    match &plan.keep {
        None => {
            say(&format!("would make an endpoint with {} events and write its secret to {file}", EVENTS_MAPPED.len()))?;
        }
        Some(endpoint) if plan.changes => say(&format!("would change {}: {}", endpoint.id, differences(endpoint)))?,
        Some(endpoint) => say(&format!("{} is in order", endpoint.id))?,
    }
    for endpoint in &plan.disable {
        say(&format!("would disable {}", endpoint.id))?;
    }
    doubt(setup, plan)?;
    say("nothing was changed")?;
    Ok(ExitCode::SUCCESS)
}

/// Reports that the file may lack the secret of the endpoint that stays.
fn doubt(setup: &StripeSetup, plan: &SetupPlan) -> anyhow::Result<()> {
    if let Some(endpoint) = plan.keep.as_ref().filter(|_| !plan.is_proven) {
        say(&format!(
            "whether {} holds the secret of {} cannot be known, since Stripe tells it once: --roll makes sure",
            setup.secret_file.display(),
            endpoint.id
        ))?;
    }
    Ok(())
}

fn differences(endpoint: &WebhookEndpoint) -> String {
    let missing = endpoint.lacks(&EVENTS_MAPPED);
    let needed = EVENTS_MAPPED.len() - missing.len();
    let sends_more = endpoint.events.len() > needed || endpoint.events.iter().any(|event| event == "*");
    let parts = [
        (!endpoint.enabled).then(|| "it is switched off".to_owned()),
        (!missing.is_empty()).then(|| format!("it does not send {}", missing.join(", "))),
        sends_more.then(|| "it sends events that nothing is made of".to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

async fn carry_out(admin: &EndpointAdmin, setup: &StripeSetup, plan: &SetupPlan) -> anyhow::Result<ExitCode> {
    let file = setup.secret_file.display();
    match &plan.keep {
        None => {
            let made = make(admin, setup).await?;
            say(&format!("made {} with {} events; its secret is in {file}", made.id, EVENTS_MAPPED.len()))?;
        }
        Some(endpoint) if plan.changes => {
            admin.adopt(&endpoint.id, &EVENTS_MAPPED).await?;
            say(&format!("changed {}: {}", endpoint.id, differences(endpoint)))?;
        }
        Some(endpoint) => say(&format!("{} is in order", endpoint.id))?,
    }
    doubt(setup, plan)?;
    if plan.disable.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if plan.keep.is_none() && !setup.overlap.is_zero() {
        say(&format!(
            "both endpoints send for {} s, so that the gateway takes the new secret over; after an interrupt, run this again \
             without --roll",
            setup.overlap.as_secs()
        ))?;
        tokio::time::sleep(setup.overlap).await;
    }
    for endpoint in &plan.disable {
        admin.disable(&endpoint.id).await?;
        say(&format!("disabled {}: remove it in Stripe's dashboard when you like", endpoint.id))?;
    }
    say(&format!(
        "the old secrets stay in {file} behind the new one; `colony-gateway reconcile` fetches what an old endpoint was still \
         repeating"
    ))?;
    Ok(ExitCode::SUCCESS)
}
