//! Child processes and what the system tells about them: the gateway with a data directory, or the bare peer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use colony_gateway::domain::clock::Clock;
use serde_json::Value;

use crate::Bench;
use crate::colony::variable;
use crate::gateway::{SECRET, get, request};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a child's log is looked at while it starts. A time to start is known to this much.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// Ticks a second of the times in `/proc/<pid>/stat`; Linux tells this number to all programs.
const TICKS: f64 = 100.0;

/// A postgres URL behind which nobody listens: entries wait, and work on them takes no share of the cores.
const NO_LEDGER: &str = "postgres://nobody@127.0.0.1:1/none?connect_timeout=1";

/// A child. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where webhooks go.
    pub(crate) webhooks: SocketAddr,
    admin: Option<SocketAddr>,
    /// From the start to the first answer that it is ready.
    pub(crate) ready_after: Duration,
}

/// What becomes of entries.
#[derive(Clone, Debug)]
pub(crate) enum Ledger {
    /// The ledger is down; entries wait.
    Down,
    /// The embedded one.
    Embedded,
    /// PostgreSQL.
    Postgres(String),
}

/// Environment of a gateway.
pub(crate) fn environment(data: &Path, ledger: &Ledger) -> BTreeMap<&'static str, String> {
    use colony_gateway::stripe::simulator::Tier;
    let mut environment = BTreeMap::from([
        ("STRIPE_WEBHOOK_SECRET", SECRET.to_owned()),
        ("GATEWAY_DATA_DIR", data.display().to_string()),
        ("GATEWAY_LISTEN", "127.0.0.1:0".to_owned()),
        ("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("GATEWAY_LOG_FORMAT", "json".to_owned()),
        ("STRIPE_PRICE_BRONZE", Tier::Bronze.price_id().to_owned()),
        ("STRIPE_PRICE_SILVER", Tier::Silver.price_id().to_owned()),
        ("STRIPE_PRICE_GOLD", Tier::Gold.price_id().to_owned()),
        ("USE_COLONY_OS", "false".to_owned()),
        // As the unit file and the image have it.
        ("MALLOC_ARENA_MAX", "2".to_owned()),
    ]);
    match ledger {
        Ledger::Down => environment.insert("DATABASE_URL", NO_LEDGER.to_owned()),
        Ledger::Embedded => environment.insert("GATEWAY_LEDGER", "sqlite".to_owned()),
        Ledger::Postgres(url) => environment.insert("DATABASE_URL", url.clone()),
    };
    environment
}

impl Process {
    /// The gateway, with its default settings. Its log goes to a file, as under a service manager.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(crate) fn gateway(bench: &Bench, data: &Path, ledger: &Ledger) -> anyhow::Result<Self> {
        Self::gateway_with(bench, data, ledger, &[])
    }

    /// As [`Self::gateway`], with more in its environment.
    ///
    /// # Errors
    /// When it does not become ready.
    pub(crate) fn gateway_with(
        bench: &Bench,
        data: &Path,
        ledger: &Ledger,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let path = data.join("gateway.log");
        let log = File::create(&path).context("the log")?;
        let begun = bench.clock.instant();
        let mut child = Command::new(&bench.binary)
            .arg("serve")
            .env_clear()
            .envs(environment(data, ledger))
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", bench.binary.display()))?;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some((webhooks, admin)) = text.lines().find_map(ready_line) {
                let ready_after = bench.clock.instant().duration_since(begun);
                return Ok(Self { child, webhooks, admin: Some(admin), ready_after });
            }
            if child.try_wait()?.is_some() || bench.clock.instant().duration_since(begun) > PATIENCE {
                drop(child.kill());
                drop(child.wait());
                bail!("the gateway did not become ready:\n{text}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The peer that only checks signatures.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn bare(clock: &Clock) -> anyhow::Result<Self> {
        Self::peer(clock, &["--serve-bare"])
    }

    /// The peer that checks signatures and inserts each event.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn handler(clock: &Clock, database: &str) -> anyhow::Result<Self> {
        Self::peer(clock, &["--serve-handler", database])
    }

    fn peer(clock: &Clock, arguments: &[&str]) -> anyhow::Result<Self> {
        let begun = clock.instant();
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the bare server does not start")?;
        let out = child.stdout.take().context("piped")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let webhooks = line.trim().parse().context("the bare server says no address")?;
        Ok(Self { child, webhooks, admin: None, ready_after: clock.instant().duration_since(begun) })
    }

    /// Seconds of CPU so far, its own and the system's for it.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// A line of `/proc/<pid>/status` in MiB, such as `VmRSS` or its peak, `VmHWM`.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn mebibytes(&self, line: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        let kib: f64 = value.context("no such line")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// The gateway's full health.
    ///
    /// # Errors
    /// When it answers something else.
    pub(crate) fn health(&self) -> anyhow::Result<Value> {
        let admin = self.admin.context("the bare server has no health")?;
        Ok(serde_json::from_str(&request(admin, &get("/health")).body)?)
    }

    /// Waits until every one of so many events has come to its end in the ledger.
    ///
    /// # Errors
    /// When some are given up or held back, or it takes too long.
    pub(crate) fn until_settled(&self, events: usize, clock: &Clock) -> anyhow::Result<()> {
        let begun = clock.instant();
        loop {
            let inbox = &self.health()?["inbox"];
            let count = |state: &str| inbox[state].as_u64().unwrap_or(0);
            ensure!(count("dead") + count("quarantined") == 0, "events were given up or held back: {inbox}");
            if count("settled") == events as u64 {
                return Ok(());
            }
            ensure!(clock.instant().duration_since(begun) < PATIENCE, "not settled: {inbox}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What has been spent so far, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// CPU of all that this process has started, such as gateways and PostgreSQL, and of the processes that [`OTHERS`] names; and of the
    /// system for them. Other programs on the machine do not count.
    pub(crate) busy: f64,
    /// What the host of a virtual machine took, as a share of all once it is a difference.
    pub(crate) stolen: f64,
    all: f64,
}

/// Process ids of servers that were there before, separated by spaces: a Colonies server and its database. Their children count too.
const OTHERS: &str = "COLONIES_TEST_PIDS";

impl Spent {
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("no line about all cores")?;
        let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
        let [user, nice, system, idle, waiting, irq, soft, stolen, ..] = ticks[..] else {
            bail!("no times in {line}");
        };
        let all = (user + nice + system + idle + waiting + irq + soft + stolen) / TICKS;
        let others = variable(OTHERS).unwrap_or_default();
        let others = others.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>().context(OTHERS)?;
        Ok(Self { busy: families(std::process::id(), &others)?, stolen: stolen / TICKS, all })
    }

    /// What was spent since.
    pub(crate) fn since(self, before: Self) -> Self {
        let all = self.all - before.all;
        Self { busy: self.busy - before.busy, stolen: (self.stolen - before.stolen) / all, all }
    }
}

/// Seconds of CPU of everything below a process, and of others with everything below them. A child that has ended counts with its
/// parent: PostgreSQL has a process a connection.
fn families(parent: u32, others: &[u32]) -> anyhow::Result<f64> {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended since.
        if let Ok(times) = Times::of(id) {
            processes.insert(id, times);
        }
    }
    let counts = |mut id: u32| {
        let mut is_itself = true;
        loop {
            if others.contains(&id) || (id == parent && !is_itself) {
                return true;
            }
            let Some(times) = processes.get(&id).filter(|_| id != parent) else { return false };
            (id, is_itself) = (times.parent, false);
        }
    };
    Ok(processes.iter().filter(|(id, _)| counts(**id)).map(|(_, times)| times.own + times.ended).sum())
}

/// What the system says of a process, in seconds.
struct Times {
    parent: u32,
    /// Its own, and the system's for it.
    own: f64,
    /// The same of children that have ended and were waited for.
    ended: f64,
}

impl Times {
    fn of(process: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name in parentheses may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).context("no number");
        let seconds = |first: usize| {
            Ok::<_, anyhow::Error>(f64::from(number(first)?) / TICKS + f64::from(number(first + 1)?) / TICKS)
        };
        Ok(Self { parent: number(1)?, own: seconds(11)?, ended: seconds(13)? })
    }
}

/// Seconds of CPU of a process so far, its own and the system's for it.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    Ok(Times::of(process)?.own)
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ready_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "ready" {
        return None;
    }
    Some((line["webhooks"].as_str()?.parse().ok()?, line["admin"].as_str()?.parse().ok()?))
}

/// Waits until a process has no thread of this name any more.
///
/// # Errors
/// When it takes too long.
pub(crate) fn until_no_thread(process: &str, name: &str, clock: &Clock) -> anyhow::Result<()> {
    let begun = clock.instant();
    loop {
        let threads = std::fs::read_dir(format!("/proc/{process}/task"))?;
        let is_there = threads
            .flatten()
            .any(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
        if !is_there {
            return Ok(());
        }
        ensure!(clock.instant().duration_since(begun) < PATIENCE, "{name} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}
