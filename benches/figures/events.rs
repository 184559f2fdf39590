//! Coherent events of simulated customers, posted once each as fast as they are acknowledged.

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{anyhow, bail};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::stripe::simulator::{Options, SPAN, SimulatedEvent, Simulator, sign};

use crate::Bench;
use crate::gateway::{SECRET, connect, read_reply};
use crate::load::{CONNECTIONS, Source};

/// Customers whose stories run at the same time.
const USERS: NonZeroU32 = NonZeroU32::new(200).expect("it is not zero");

/// The same stories in every run.
const SEED: u64 = 7;

/// So many different events, with their bodies. None is in the future.
pub(crate) fn events(count: usize, now: Timestamp) -> Vec<SimulatedEvent> {
    let start = now.minus(SPAN);
    let options = Options { seed: SEED, users: USERS, api_version: None, start, livemode: false, account: None };
    Simulator::new(options).take(count).collect()
}

/// Events of stories, in order, to be posted once each.
pub(crate) struct Stories {
    events: Vec<SimulatedEvent>,
    next: AtomicUsize,
    clock: Clock,
}

impl Stories {
    /// Enough for the longest measurement.
    pub(crate) fn new(bench: &Bench) -> Self {
        let events = events(bench.sized(50_000, 16_000), bench.clock.now());
        Self { events, next: AtomicUsize::new(0), clock: bench.clock.clone() }
    }

    /// How many were posted.
    pub(crate) fn told(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }
}

impl Source for Stories {
    fn write(&self, request: &mut Vec<u8>) {
        let event = &self.events[self.next.fetch_add(1, Ordering::Relaxed)];
        write_request(request, event, &self.clock);
    }
}

fn write_request(request: &mut Vec<u8>, event: &SimulatedEvent, clock: &Clock) {
    let signature = sign(SECRET, clock.now(), &event.body);
    request.clear();
    // Writing to a buffer cannot fail.
    let _ = write!(
        request,
        "POST /webhooks/stripe HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json; charset=utf-8\r\n\
         stripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        event.body.len()
    );
    request.extend_from_slice(&event.body);
}

/// Posts all of them, each signed when it is sent, and returns when the last one is acknowledged.
///
/// # Errors
/// When one is not acknowledged.
pub(crate) fn post_all(address: SocketAddr, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| post_some(address, events, &next))).collect();
        for connection in connections {
            connection.join().map_err(|_| anyhow!("a connection panicked"))??;
        }
        Ok(())
    })
}

/// One connection: takes events until there are no more.
fn post_some(address: SocketAddr, events: &[SimulatedEvent], next: &AtomicUsize) -> anyhow::Result<()> {
    let mut stream = connect(address);
    stream.set_nodelay(true)?;
    let clock = Clock::system();
    let mut request = Vec::new();
    while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
        write_request(&mut request, event, &clock);
        stream.write_all(&request)?;
        match read_reply(&mut stream) {
            Some(reply) if reply.status == 200 => {}
            Some(reply) => bail!("{} was answered {}: {}", event.id, reply.status, reply.body),
            None => bail!("{} was not answered", event.id),
        }
    }
    Ok(())
}
