//! `dev`: the whole gateway in one process, with nothing installed and nothing configured.
//!
//! Real components throughout: the simulator signs and posts over HTTP, the inbox is a file or in a database, jobs go signed through an
//! embedded Colonies server to bees, the ledger is the embedded one. Only the webhook secret is built in, which is why it
//! listens on loopback alone; all other keys are made at the start and forgotten at the end.

mod again;
pub mod agreement;
mod colony;
mod console;
mod inbox;
mod live;
mod place;
mod problems;
mod session;
mod stop;
mod summary;
mod welcome;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::colony::{DevColony, stay_here};
use self::place::temporary_directory;
use self::problems::Problems;
use self::session::{Session, Traffic};
use self::stop::{StopDev, Terminal};
use super::traffic::{Driver, StandIn, TrafficOptions};
use crate::app::{self, Gateway};
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::lifecycle::{Hangups, Notifier, Signals};
use crate::telemetry::logging;
use stripe_events::envelope::PayloadKind;
use stripe_events::simulator::{Deliveries, DeliveryOptions, Expected, Options, SPAN, Simulator, Tier};

/// Signing secret of `dev`. It is public, so `dev` serves only loopback.
const DEV_SECRET: &str = "whsec_dev_everybody_knows_this_secret";

/// Deliveries per second if it runs until it is stopped.
const RATE_ENDLESS: f64 = 20.0;

/// Deliveries per second of thin events: fewer than Stripe answers for a key of test mode.
const RATE_THIN: f64 = 10.0;

/// Key for the stand-in of Stripe's API.
const DEV_KEY: &str = "rk_test_dev_everybody_knows_this_key";

/// Requests at a time of the built-in simulator.
const CONCURRENCY: usize = 16;

/// Arguments of `dev`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Clone, Debug, clap::Args)]
pub struct DevArgs {
    /// Keep the state in this directory. Without it, in a temporary one.
    #[arg(long, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,

    /// Deliver this many events, print a summary and end. Without it, go on until interrupted.
    #[arg(long)]
    pub events: Option<NonZeroU64>,

    /// Simulated customers whose stories run at the same time.
    #[arg(long, default_value = "25")]
    pub users: NonZeroU32,

    /// Deliveries a second. By default as fast as they are answered with --events, 10 with --thin, and 20 otherwise.
    #[arg(long, value_parser = super::simulate::rate)]
    pub rate: Option<f64>,

    /// Share of events delivered a second time.
    #[arg(long, default_value = "10%", value_parser = super::simulate::share)]
    pub duplicate: f64,

    /// Shuffle deliveries within windows of this many.
    #[arg(long, default_value = "16")]
    pub out_of_order: usize,

    /// Share of events that come with a forged delivery, which must be refused.
    #[arg(long, default_value = "2%", value_parser = super::simulate::share)]
    pub bad_signature: f64,

    /// The same seed makes the same customers and stories. Without it, the time is the seed.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Simulate thin events (Stripe's endive), with a stand-in of Stripe's API that holds their objects.
    #[arg(long)]
    pub thin: bool,

    /// Apply events directly, without a colony.
    #[arg(long)]
    pub direct: bool,

    /// Keep the inbox in this PostgreSQL (`postgres://…`), which must hold no entries.
    #[arg(long, value_name = "URL")]
    pub inbox: Option<String>,

    /// Only serve: post events yourself, with `simulate` or `stripe listen`.
    #[arg(long, conflicts_with = "events")]
    pub no_simulator: bool,

    /// Make no problems to solve in the console. Only a run without --events makes them.
    #[arg(long)]
    pub no_problems: bool,

    /// A signing secret to accept besides the built-in one, as `stripe listen --print-secret` prints it.
    #[arg(long, value_name = "WHSEC")]
    pub secret: Option<String>,

    /// Address for webhooks, on loopback. If its port is in use, `dev` takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = loopback)]
    pub listen: SocketAddr,

    /// Address for metrics, health and the console, on loopback. If its port is in use, `dev` takes a free one.
    #[arg(long, default_value = "127.0.0.1:9090", value_parser = loopback)]
    pub admin_listen: SocketAddr,
}

impl DevArgs {
    /// Whether it makes problems to solve: only with whole events, and never in a run that ends and adds up what it sent.
    const fn makes_problems(&self) -> bool {
        !self.no_problems && self.events.is_none() && !self.no_simulator && !self.thin
    }
}

/// Runs until the events are through or a signal comes, and prints the summary. The exit code is 0 if the state of record
/// is what the simulated events add up to.
pub async fn run(args: DevArgs, mut sources: Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let temporary = if args.data_dir.is_none() { Some(temporary_directory(&clock)?) } else { None };
    let directory = args.data_dir.clone().or_else(|| temporary.as_ref().map(|temporary| temporary.0.clone()));
    let colony = if args.direct {
        stay_here(&mut sources);
        None
    } else {
        Some(DevColony::start(&mut sources, clock.clone()).await?)
    };
    let stripe = if args.thin { Some(StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0))).await?) } else { None };
    let mut config = dev_config(&args, &mut sources, directory.context("no data directory")?, stripe.as_ref()).await?;
    if let Some(url) = &args.inbox {
        inbox::put_into(&mut config, url, &clock).await?;
    }
    logging::install(config.log.format, &config.log.filter).context("log.filter")?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    let hangups = || Hangups::listen().context("cannot listen for SIGHUP");
    let (terminal, hangups) = (Terminal::watch(hangups()?), hangups()?);
    let ledger = app::make_ledger(&config, &clock).await?;
    let mut gateway = app::start(&config, Arc::clone(&ledger), clock.clone()).await?;
    gateway.reload_at(hangups, (again::reading(&config), sources), Notifier::default());
    tracing::info!(webhooks = %gateway.webhooks, admin = %gateway.admin, "ready");
    welcome::print(&args, &gateway, &config, colony.as_ref())?;

    let expected = Arc::new(Mutex::new(Expected::default()));
    let finished = CancellationToken::new();
    let mut session = JoinSet::new();
    let deliveries = gateway.shutdown.token().child_token();
    let traffic = traffic(&args, &gateway, (&expected, &deliveries), stripe.as_ref(), &clock)?;
    let stats = traffic.as_ref().map(|(driver, _)| driver.stats());
    let unfinished = Arc::new(AtomicU64::new(0));
    let watch = Session {
        inbox: gateway.inbox.clone(),
        ledger: Arc::clone(&ledger),
        shutdown: gateway.shutdown.clone(),
        deliveries: deliveries.clone(),
        finished: finished.clone(),
        unfinished: Arc::clone(&unfinished),
        stats: stats.clone(),
        clock: clock.clone(),
    };
    session.spawn(watch.run(traffic));
    let beside = Arc::new(AtomicU64::new(0));
    if args.makes_problems() {
        let bee = colony.as_ref().map(DevColony::dying_bee).transpose()?;
        let problems = Problems { url: webhook_url(&gateway)?, clock: clock.clone(), bee, taken: Arc::clone(&beside) };
        session.spawn(problems.make(gateway.shutdown.token().clone()));
    }
    let deliveries = stats.is_some().then_some(deliveries);
    let stop = StopDev { signals, terminal, deliveries, signal: None, finished, told: false };
    let ending = gateway.run(stop, config.shutdown_deadline).await;
    while let Some(ended) = session.join_next().await {
        ended.context("the simulator broke")??;
    }
    let expected = expected.lock().map_err(|_| anyhow::anyhow!("the simulator broke"))?.clone();
    let sent = summary::Sent {
        expected: &expected,
        beside: beside.load(Ordering::Relaxed),
        unfinished: unfinished.load(Ordering::Relaxed),
        endless: args.events.is_none(),
        stats: stats.as_deref(),
    };
    let agrees = summary::print(&*ledger, &sent, temporary.is_some()).await?;
    drop(ledger);
    let through = summary::print_route(colony.as_ref(), expected.events()).await?;
    if let Some(colony) = colony {
        colony.stop().await;
    }
    let good = agrees && through && ending.code() == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(ending.code().max(1)) })
}

fn webhook_url(gateway: &Gateway) -> anyhow::Result<Url> {
    format!("http://{}/webhooks/stripe", gateway.webhooks).parse().context("the gateway's URL")
}

fn traffic(
    args: &DevArgs,
    gateway: &Gateway,
    (expected, stop): (&Arc<Mutex<Expected>>, &CancellationToken),
    stripe: Option<&StandIn>,
    clock: &Clock,
) -> anyhow::Result<Option<Traffic>> {
    if args.no_simulator {
        return Ok(None);
    }
    let seed = args.seed.unwrap_or_else(|| clock.now().millis().unsigned_abs());
    let usual = match (args.thin, args.events) {
        (true, _) => Some(RATE_THIN),
        (false, Some(_)) => None,
        (false, None) => Some(RATE_ENDLESS),
    };
    let rate = args.rate.or(usual);
    let options = TrafficOptions {
        url: webhook_url(gateway)?,
        secrets: vec![Secret::new(DEV_SECRET)],
        rate,
        concurrency: NonZeroUsize::new(CONCURRENCY).context("concurrency")?,
        timeout: Duration::from_secs(30),
        expected: Some(Arc::clone(expected)),
    };
    let driver = Driver::new(options, clock.clone(), stop.clone())?;
    let simulated = Options {
        seed,
        users: args.users,
        api_version: None,
        start: clock.now().minus(SPAN),
        livemode: false,
        account: None,
    };
    let simulator = if args.thin { Simulator::thin(simulated) } else { Simulator::new(simulated) };
    let holdings = stripe.map(|stripe| stripe.holdings.clone());
    let simulator = simulator.inspect(move |event| {
        if let (Some(holdings), Some(held)) = (&holdings, &event.held) {
            holdings.hold(held);
        }
    });
    let events = args.events.map_or(usize::MAX, |events| usize::try_from(events.get()).unwrap_or(usize::MAX));
    let plan = DeliveryOptions {
        seed,
        duplicates: args.duplicate,
        out_of_order: args.out_of_order,
        age: Duration::ZERO,
        bad_signatures: args.bad_signature,
    };
    Ok(Some((driver, Box::new(Deliveries::new(simulator.take(events), plan)))))
}

/// The configuration of `dev`: what the user set, with the built-in secret, loopback addresses and quiet logs.
async fn dev_config(
    args: &DevArgs,
    sources: &mut Sources,
    directory: PathBuf,
    stripe: Option<&StandIn>,
) -> anyhow::Result<Config> {
    let quiet = !sources.environment.contains_key("GATEWAY_LOG") && !sources.environment.contains_key("RUST_LOG");
    let mut set = |name: &str, value: String| drop(sources.environment.insert(name.to_owned(), value));
    let more = args.secret.as_deref().map(|secret| format!(",{}", secret.trim())).unwrap_or_default();
    set("STRIPE_WEBHOOK_SECRET", format!("{DEV_SECRET}{more}"));
    set("GATEWAY_DATA_DIR", directory.display().to_string());
    set("GATEWAY_LEDGER", "sqlite".to_owned());
    set("GATEWAY_MODE", "live".to_owned());
    // Simulated events do not come from Stripe, and Stripe's events must not get in here.
    set("GATEWAY_RECONCILE_EVENTS", "off".to_owned());
    set("GATEWAY_RECONCILE_SUBSCRIPTIONS", "off".to_owned());
    set("GATEWAY_LISTEN", free(args.listen).await?.to_string());
    set("GATEWAY_ADMIN_LISTEN", free(args.admin_listen).await?.to_string());
    for (name, tier) in [
        ("STRIPE_PRICE_BRONZE", Tier::Bronze),
        ("STRIPE_PRICE_SILVER", Tier::Silver),
        ("STRIPE_PRICE_GOLD", Tier::Gold),
    ] {
        set(name, tier.price_id().to_owned());
    }
    if quiet {
        set("GATEWAY_LOG", "error".to_owned());
    }
    if let Some(stripe) = stripe {
        set("STRIPE_SECRET_KEY", DEV_KEY.to_owned());
        set("GATEWAY_STRIPE_API_URL", stripe.url());
        sources.environment.remove("STRIPE_SECRET_KEY_FILE");
    }
    sources.environment.remove("STRIPE_WEBHOOK_SECRET_FILE");
    let mut config = Config::for_serve(sources)?;
    console::add_operator(&mut config)?;
    if args.thin {
        config.endpoints.iter_mut().for_each(|endpoint| endpoint.payload = PayloadKind::Thin);
    }
    Ok(config)
}

/// The address, or one with a free port if it is in use or names no port.
async fn free(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    if address.port() != 0 && TcpListener::bind(address).await.is_ok() {
        return Ok(address);
    }
    let any = SocketAddr::new(address.ip(), 0);
    let listener = TcpListener::bind(any).await.with_context(|| format!("cannot listen on {}", address.ip()))?;
    listener.local_addr().context("no local address")
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => Err("the secret of `dev` is public, so it listens on loopback addresses only".to_owned()),
        Err(_) => Err("must be an address and a port, such as 127.0.0.1:8080".to_owned()),
    }
}
