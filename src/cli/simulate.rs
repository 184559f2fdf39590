//! `simulate`: signed Stripe-shaped traffic for a webhook endpoint, and a verdict on its answers.

mod report;

use std::io::{IsTerminal as _, stderr, stdout};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Url;
use tokio_util::sync::CancellationToken;

use super::admin::local;
use super::traffic::{CONCURRENCY_MAX, Driver, Holdings, StandIn, Stats, TrafficOptions};
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use stripe_events::simulator::{
    ApiVersion, Deliveries, Delivery, DeliveryOptions, OUT_OF_ORDER_MAX, Options, SPAN, Simulator, USERS_MAX,
};

use report::SimulationReport;

/// How often the progress bar moves.
const REDRAW: Duration = Duration::from_millis(100);

/// Ages at which the answer depends on how long the request takes.
const UNDECIDED_AGES: std::ops::RangeInclusive<u64> = 285..=300;

/// Post signed Stripe-shaped events to a webhook endpoint and check the answers.
///
/// Coherent stories of invented customers: checkout, subscription, invoices, refunds, cancellation. A forged delivery
/// must be answered with 400, every other one with 2xx. A 503 is tried again, after its Retry-After, a few times.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SimulateArgs {
    /// Endpoint to post to. Without it, the gateway of this machine (`GATEWAY_LISTEN`).
    #[arg(long)]
    pub url: Option<Url>,

    /// Signing secret of the endpoint, whsec_…. Several, separated by commas, sign as Stripe does while a secret is rolled.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, value_delimiter = ',', value_parser = secret)]
    pub secret: Vec<Secret>,

    /// File that holds the signing secrets instead, as the gateway's `STRIPE_WEBHOOK_SECRET_FILE`.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<String>,

    /// Customers whose stories run at the same time.
    #[arg(long, default_value = "25", value_parser = users)]
    pub users: NonZeroU32,

    /// Events to deliver; duplicates and forgeries come on top.
    #[arg(long, default_value = "1000", conflicts_with = "endless")]
    pub events: NonZeroU64,

    /// Go on until interrupted.
    #[arg(long)]
    pub endless: bool,

    /// Make thin events (Stripe's endive), which only name their objects. The gateway fetches the objects from a stand-in of
    /// Stripe's API, which listens on --api-listen.
    #[arg(long, conflicts_with = "api_version", requires = "api_listen")]
    pub thin: bool,

    /// Address of the stand-in of Stripe's API: point the gateway's `GATEWAY_STRIPE_API_URL` to it. It answers until
    /// --api-linger after the last delivery.
    #[arg(long, value_name = "ADDRESS", requires = "thin")]
    pub api_listen: Option<SocketAddr>,

    /// Seconds for which the stand-in goes on answering after the last delivery.
    #[arg(long, value_name = "SECONDS", default_value = "10", requires = "thin")]
    pub api_linger: u64,

    /// API version of the events: its name or release, or "mixed" for a different one for each customer.
    #[arg(long, default_value = "mixed", value_parser = api_version)]
    pub api_version: ApiVersions,

    /// Deliveries a second. Without it, as fast as they are answered.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,

    /// Requests at a time.
    #[arg(long, default_value = "16", value_parser = concurrency)]
    pub concurrency: NonZeroUsize,

    /// Share of events delivered a second time: 0.1 or 10%.
    #[arg(long, default_value = "0", value_parser = share)]
    pub duplicate: f64,

    /// Shuffle deliveries within windows of this many.
    #[arg(long, default_value = "0", value_parser = RangedU64ValueParser::<usize>::new().range(0..=OUT_OF_ORDER_MAX as u64))]
    pub out_of_order: usize,

    /// Age of the signatures in seconds; over 300 every delivery must be refused.
    #[arg(long, default_value = "0")]
    pub age: u64,

    /// Share of events that come with a forged delivery: 0.1 or 10%.
    #[arg(long, default_value = "0", value_parser = share)]
    pub bad_signature: f64,

    /// The same seed makes the same customers and stories. Without it, the time is the seed.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Make events of live mode.
    #[arg(long)]
    pub livemode: bool,

    /// Connected account that the events belong to, acct_….
    #[arg(long)]
    pub account: Option<String>,

    /// Deadline of one request, in seconds.
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,

    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which API versions to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersions {
    /// Each customer's events in a drawn one.
    Mixed,
    /// All events in this one.
    One(ApiVersion),
}

/// Takes the secrets from the file if none are given directly.
fn with_secret_file(mut args: SimulateArgs) -> anyhow::Result<SimulateArgs> {
    // Compose passes unset variables as empty ones.
    let file = args.secret_file.as_deref().map(str::trim).filter(|path| !path.is_empty());
    if let Some(file) = file.filter(|_| args.secret.is_empty()) {
        let text = std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?;
        let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
        args.secret = items.map(|item| secret(item).map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
    }
    Ok(args)
}

/// Runs the traffic to its end or to an interrupt, and prints the summary. The exit code is 0 if every answer was as
/// expected and 1 otherwise.
pub async fn run(args: SimulateArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    if UNDECIDED_AGES.contains(&args.age) {
        bail!(
            "--age {}: whether that is too old depends on the network; choose less than 285 or more than 300",
            args.age
        );
    }
    let args = with_secret_file(args)?;
    let seed = args.seed.unwrap_or_else(|| clock.now().millis().unsigned_abs());
    let stop = CancellationToken::new();
    let driver = Driver::new(traffic_options(&args, url(&args, sources)?), clock.clone(), stop.clone())?;
    let stand_in = match args.api_listen {
        Some(address) => Some(StandIn::start(address).await?),
        None => None,
    };
    let deliveries = deliveries(&args, seed, stand_in.as_ref().map(|stand_in| stand_in.holdings.clone()), &clock);

    let begun = clock.instant();
    let bar = progress_bar(&args);
    let stats = driver.stats();
    let mut traffic = std::pin::pin!(driver.run(deliveries));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            ended = &mut traffic => {
                ended.context("the traffic broke off")?;
                break;
            }
            _ = redraw.tick() => show(&bar, &stats),
            interrupted = &mut interrupt => {
                interrupted.context("cannot wait for interrupts")?;
                if stop.is_cancelled() {
                    bail!("interrupted again before all answers were in");
                }
                stop.cancel();
                interrupt.set(tokio::signal::ctrl_c());
            }
        }
    }
    bar.finish_and_clear();
    if let Some(stand_in) = stand_in {
        // The gateway may still ask for objects of acknowledged events.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(args.api_linger)) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        drop(stand_in);
    }
    let report = SimulationReport::new(seed, clock.instant().saturating_duration_since(begun), stats.snapshot());
    report.print(&mut stdout().lock(), args.json).context("cannot print the summary")?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The deliveries. The objects of thin events are put into `holdings` when the events are made.
fn deliveries(
    args: &SimulateArgs,
    seed: u64,
    holdings: Option<Holdings>,
    clock: &Clock,
) -> impl Iterator<Item = Delivery> + Send + use<> {
    let options = Options {
        seed,
        users: args.users,
        api_version: match args.api_version {
            ApiVersions::Mixed => None,
            ApiVersions::One(version) => Some(version),
        },
        start: clock.now().minus(SPAN),
        livemode: args.livemode,
        account: args.account.clone(),
    };
    let simulator = if args.thin { Simulator::thin(options) } else { Simulator::new(options) };
    let simulator = simulator.inspect(move |event| {
        if let (Some(holdings), Some(held)) = (&holdings, &event.held) {
            holdings.hold(held);
        }
    });
    let events = if args.endless { usize::MAX } else { usize::try_from(args.events.get()).unwrap_or(usize::MAX) };
    Deliveries::new(
        simulator.take(events),
        DeliveryOptions {
            seed,
            duplicates: args.duplicate,
            out_of_order: args.out_of_order,
            age: Duration::from_secs(args.age),
            bad_signatures: args.bad_signature,
        },
    )
}

/// The given endpoint, or that of the gateway on this machine.
fn url(args: &SimulateArgs, sources: &Sources) -> anyhow::Result<Url> {
    match &args.url {
        Some(url) => Ok(url.clone()),
        None => Ok(format!("http://{}/webhooks/stripe", local(Config::listen(sources)?)).parse()?),
    }
}

fn traffic_options(args: &SimulateArgs, url: Url) -> TrafficOptions {
    TrafficOptions {
        url,
        secrets: args.secret.clone(),
        rate: args.rate,
        concurrency: args.concurrency,
        timeout: Duration::from_secs(args.timeout),
        expected: None,
    }
}

/// Hidden if the output is not a terminal.
fn progress_bar(args: &SimulateArgs) -> ProgressBar {
    let bar = if args.endless { ProgressBar::no_length() } else { ProgressBar::new(args.events.get()) };
    let style = ProgressStyle::with_template("{elapsed_precise} [{wide_bar}] {pos}/{len} events  {per_sec}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let watched = stderr().is_terminal();
    bar.set_draw_target(if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    bar
}

fn show(bar: &ProgressBar, stats: &Stats) {
    if bar.is_hidden() {
        return;
    }
    let now = stats.snapshot();
    bar.set_position(now.genuine);
    bar.set_message(format!("{} retried, {} unexpected", now.retried, now.unexpected));
}

fn secret(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("a secret has no spaces in it and is not empty".to_owned());
    }
    Ok(Secret::new(text))
}

fn users(text: &str) -> Result<NonZeroU32, String> {
    let parsed = text.parse::<NonZeroU32>().ok().filter(|users| users.get() <= USERS_MAX);
    parsed.ok_or_else(|| format!("give a number from 1 to {USERS_MAX}"))
}

fn concurrency(text: &str) -> Result<NonZeroUsize, String> {
    let parsed = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= CONCURRENCY_MAX);
    parsed.ok_or_else(|| format!("give a number from 1 to {CONCURRENCY_MAX}"))
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    parsed.ok_or_else(|| "give a number greater than 0".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    let parsed = parsed.ok().filter(|share| (0.0..=1.0).contains(share));
    parsed.ok_or_else(|| "give a share from 0 to 1 or from 0% to 100%".to_owned())
}

fn api_version(text: &str) -> Result<ApiVersions, String> {
    if text == "mixed" {
        return Ok(ApiVersions::Mixed);
    }
    text.parse().map(ApiVersions::One).map_err(|error: stripe_events::simulator::UnknownApiVersion| error.to_string())
}

#[cfg(test)]
mod tests;
