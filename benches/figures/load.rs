//! Load on a server: as fast as it acknowledges (closed loop), or at a fixed rate (open loop).

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use colony_gateway::domain::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::gateway::connect;
use crate::requests::Requests;

/// Connections that post, each one request at a time.
pub(crate) const CONNECTIONS: usize = 64;

/// Stack of a thread that posts.
const STACK_BYTES: usize = 256 * 1024;

/// Before the first request of an open loop is due.
const LEAD: Duration = Duration::from_millis(200);

/// What a closed loop came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    acknowledged: u64,
    took: Duration,
}

impl Closed {
    /// Acknowledged a second.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(crate) fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.took.as_secs_f64()
    }

    /// So many seconds, for each 10,000 acknowledged.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    pub(crate) fn a_myriad(&self, seconds: f64) -> f64 {
        seconds * 10_000.0 / self.acknowledged as f64
    }
}

/// Posts for so long, each connection the next request when the last one is acknowledged.
///
/// # Errors
/// When one is not acknowledged.
pub(crate) fn closed(bench: &Bench, address: SocketAddr, time: Duration) -> anyhow::Result<Closed> {
    closed_by(bench, &[address], CONNECTIONS, time)
}

/// As [`closed`], with so many connections, shared out among servers.
///
/// # Errors
/// When one is not acknowledged.
pub(crate) fn closed_by(
    bench: &Bench,
    addresses: &[SocketAddr],
    connections: usize,
    time: Duration,
) -> anyhow::Result<Closed> {
    let places: Vec<SocketAddr> = addresses.iter().copied().cycle().take(connections).collect();
    // One thread for all connections: more of them would take the cores from the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = bench.clock.instant();
    let end = begun + time;
    let acknowledged = runtime.block_on(async {
        let mut connections = JoinSet::new();
        for address in places {
            connections.spawn(post(Arc::clone(&bench.requests), bench.clock.clone(), address, end));
        }
        let mut acknowledged = 0;
        while let Some(connection) = connections.join_next().await {
            acknowledged += connection??;
        }
        anyhow::Ok(acknowledged)
    })?;
    Ok(Closed { acknowledged, took: bench.clock.instant().duration_since(begun) })
}

/// One connection of a closed loop. Tells how many were acknowledged.
async fn post(requests: Arc<Requests>, clock: Clock, address: SocketAddr, end: Instant) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let (mut request, mut reply) = (Vec::new(), vec![0; 4096]);
    let mut acknowledged = 0;
    while clock.instant() < end {
        requests.write(&mut request);
        stream.write_all(&request).await?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut reply[filled..]).await?;
            ensure!(read > 0, "the connection ended without an answer");
            filled += read;
            if is_whole(&reply[..filled])? {
                break;
            }
        }
        acknowledged += 1;
    }
    Ok(acknowledged)
}

/// Whether this is all of a 200.
fn is_whole(reply: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = reply.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&reply[..head])?;
    if text.get(9..12) != Some("200") {
        bail!("answered {}", String::from_utf8_lossy(reply));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("an answer without a length")?.parse()?;
    Ok(reply.len() >= head + 4 + length)
}

/// How long acknowledgements took, each from the time at which its request was due.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// In any order.
    pub(crate) fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self(latencies)
    }

    /// So many of 1,000 were not longer than this, in milliseconds.
    pub(crate) fn permille(&self, permille: usize) -> f64 {
        let index = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }

    /// The longest, in milliseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.permille(1000)
    }
}

/// What is posted.
pub(crate) trait Source: Sync {
    /// Writes the next request into the buffer, instead of what it held.
    fn write(&self, request: &mut Vec<u8>);
}

/// Posts at a fixed rate for so long, whatever the server does. A request that cannot be sent when it is due, since its
/// connection still waits for an answer, is sent as soon as it can, and its time counts from when it was due.
///
/// # Errors
/// When one is not acknowledged.
pub(crate) fn open(
    bench: &Bench,
    source: &dyn Source,
    address: SocketAddr,
    rate: u32,
    time: Duration,
) -> anyhow::Result<Latencies> {
    let begin = bench.clock.instant() + LEAD;
    let total = u32::try_from(time.as_secs())? * rate;
    let latencies = std::thread::scope(|scope| {
        let mut connections = Vec::new();
        for first in 0..CONNECTIONS {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let due = (u32::try_from(first)?..total)
                .step_by(CONNECTIONS)
                .map(move |number| begin + Duration::from_secs(1) * number / rate);
            connections.push(thread.spawn_scoped(scope, move || post_when_due(bench, source, address, due))?);
        }
        let mut latencies = Vec::new();
        for connection in connections {
            latencies.extend(connection.join().map_err(|_| anyhow!("a connection panicked"))??);
        }
        anyhow::Ok(latencies)
    })?;
    Ok(Latencies::new(latencies))
}

/// One connection of an open loop. A thread of its own, since a runtime's timers are too coarse.
fn post_when_due(
    bench: &Bench,
    source: &dyn Source,
    address: SocketAddr,
    due: impl Iterator<Item = Instant>,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = connect(address);
    stream.set_nodelay(true)?;
    let (mut request, mut reply) = (Vec::new(), vec![0; 4096]);
    let mut latencies = Vec::new();
    for due in due {
        source.write(&mut request);
        std::thread::sleep(due.saturating_duration_since(bench.clock.instant()));
        stream.write_all(&request)?;
        let mut filled = 0;
        loop {
            let read = stream.read(&mut reply[filled..])?;
            ensure!(read > 0, "the connection ended without an answer");
            filled += read;
            if is_whole(&reply[..filled])? {
                break;
            }
        }
        latencies.push(bench.clock.instant().duration_since(due));
    }
    Ok(latencies)
}
