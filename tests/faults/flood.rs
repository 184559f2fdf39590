//! A peer that floods the door while Stripe delivers: connections that say nothing, and forged bodies of nearly a megabyte
//! that are held back at their last byte. It comes the same way as Stripe does, through a proxy that names nobody, so that no
//! share tells the two apart. Genuine deliveries are answered 2xx all the while.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::account::Figures;
use crate::gateway::{Gateway, Options};
use crate::load::Load;
use crate::rounds::Rounds;
use crate::world::World;

/// Forged deliveries at a time. Their bodies are more than all budgets together.
const FORGERS: usize = 60;

/// Bodies of this size that the default budget of large ones holds.
const HELD: u64 = 32;

/// Connections that a gateway of the second scenario takes, and those that say nothing.
const CONNECTIONS_MAX: usize = 40;
const SILENT: usize = 4 * CONNECTIONS_MAX;

/// Genuine deliveries during each flood.
const DELIVERIES: u64 = 300;

/// Threads that flood until this goes out of use.
struct Flood {
    is_over: Arc<AtomicBool>,
    /// Connections that were made.
    made: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Flood {
    /// `senders` threads that connect to the gateway, say `bytes` and wait to be hung up on; those that said something do it
    /// again. Silent ones come once: who turns over all places faster than a head arrives needs the share of a sender, which
    /// this flood has not.
    fn start(target: SocketAddr, senders: usize, bytes: &Arc<Vec<u8>>) -> Self {
        let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sender = |_| {
            let (is_over, made, bytes) = (Arc::clone(&is_over), Arc::clone(&made), Arc::clone(bytes));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(target) else { continue };
                    made.fetch_add(1, Ordering::Relaxed);
                    // Short, so that the end of the flood is noticed.
                    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                    if stream.write_all(&bytes).is_err() {
                        continue;
                    }
                    let mut answer = [0; 512];
                    while !is_over.load(Ordering::Relaxed) {
                        match stream.read(&mut answer) {
                            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                            _ => break,
                        }
                    }
                    if bytes.is_empty() {
                        break;
                    }
                }
            })
        };
        Self { threads: (0..senders).map(sender).collect(), is_over, made }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A forged delivery of the largest size but its last byte.
fn held_back() -> Vec<u8> {
    const BYTES: usize = 1024 * 1024;
    let now = colony_gateway::domain::clock::Clock::system().now();
    let seconds = now.millis() / 1000;
    let signature = format!("t={seconds},v1={}", "0".repeat(64));
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: gateway\r\nstripe-signature: {signature}\r\ncontent-length: {BYTES}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; BYTES - 1]].concat()
}

/// Delivers under a flood that is there before the first delivery and after the last.
fn deliver(scenario: &str, options: &Options, world: &World, flood: impl Fn(&Gateway) -> Flood) {
    let rounds = Rounds::of(1);
    let load = Load::start(rounds.seed);
    let gateway = options.serve();
    let flood = flood(&gateway);
    load.target(&[gateway.webhooks]);
    load.allow(DELIVERIES * rounds.number);
    load.until_account_or_sent(|account| !account.problems.is_empty());
    let made = flood.made();
    assert!(made > 0);
    drop(flood);
    let account = load.finish();
    account.assert_all_taken();
    let figures = Figures {
        scenario: scenario.to_owned(),
        seed: rounds.seed,
        faults: made,
        rounds: rounds.number,
        ..Figures::default()
    };
    world.settle(&[&gateway], &account, figures);
}

#[test]
fn forged_megabytes_that_are_held_back_shut_no_door() {
    let world = World::sqlite();
    let bytes = Arc::new(held_back());
    deliver("flood, held bodies", &world.options, &world, |gateway| {
        let flood = Flood::start(gateway.webhooks, FORGERS, &bytes);
        gateway.until(|_| gateway.metric("colony_gateway_webhook_requests_in_hand") >= HELD / 2);
        gateway.until(|_| gateway.metric("colony_gateway_webhook_requests_total{result=\"overloaded\"}") > 0);
        flood
    });
}

#[test]
fn silent_connections_shut_no_door() {
    let world = World::sqlite();
    let options = world.options.clone().with("GATEWAY_CONNECTIONS_MAX", CONNECTIONS_MAX);
    deliver("flood, silent connections", &options, &world, |gateway| {
        let flood = Flood::start(gateway.webhooks, SILENT, &Arc::default());
        gateway.until(|_| flood.made() == SILENT as u64);
        flood
    });
}
