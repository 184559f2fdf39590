//! Heartbeats against a real Redis: there, away, back, behind a password, and one that never answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use colony_gateway::bees::heartbeat::{self, Found, Heartbeat, Pulse, Pulses, Rhythm, STREAM};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::secret::Secret;
use colony_gateway::telemetry::metrics::Metrics;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::redis_server::Redis;

/// Longest wait for anything. Reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct TwoBees;

impl Pulses for TwoBees {
    fn pulses(&self) -> Vec<Pulse> {
        ["hive-1", "hive-2"]
            .map(|name| Pulse {
                executor: name.to_owned(),
                state: "idle",
                seen: Timestamp::from_seconds(1_700_000_000),
                done: 3,
                failed: 1,
                last: Some(Duration::from_millis(12)),
            })
            .to_vec()
    }
}

/// Heartbeats in the background.
struct Beating {
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    tasks: JoinSet<Result<(), std::convert::Infallible>>,
}

impl Beating {
    fn start(url: &str) -> Self {
        let (metrics, draining) = (Metrics::new(), CancellationToken::new());
        let rhythm = Rhythm { every: Duration::from_millis(20), patience: Duration::from_secs(2) };
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let heartbeat = Heartbeat::new(&Secret::new(url), Arc::new(TwoBees), rhythm, Arc::clone(&metrics), clock);
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat.expect("a good address").run(draining.clone()));
        Self { metrics, draining, tasks }
    }

    fn count(&self, result: &str) -> u64 {
        let line = format!("colony_gateway_heartbeats_total{{result=\"{result}\"}} ");
        let text = self.metrics.render();
        text.lines().find_map(|found| found.strip_prefix(&line)).expect("the metric is there").parse().unwrap()
    }

    /// Waits for the count to grow.
    async fn until_more(&self, result: &str) {
        let before = self.count(result);
        let grown = async {
            while self.count(result) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, grown).await.unwrap_or_else(|_| panic!("no heartbeat is {result}"));
    }

    /// Ends it; waits no longer than for anything.
    async fn end(mut self) {
        self.draining.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("it ends").expect("it was started").expect("no panic").expect("infallible");
    }
}

async fn ask<T: redis::FromRedisValue>(url: &str, command: &[&str]) -> T {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut words = redis::cmd(command[0]);
    words.arg(&command[1..]);
    words.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn every_bee_has_a_heartbeat_statistics_and_a_line_in_the_stream() {
    let server = Redis::start();
    let (url, beating) = (server.url(), Beating::start(&server.url()));
    beating.until_more("ok").await;
    let beat: String = ask(&url, &["GET", "executor:hive-1:heartbeat"]).await;
    assert_eq!(beat, "2023-11-14T22:13:20.000000");
    let ttl: i64 = ask(&url, &["TTL", "executor:hive-2:heartbeat"]).await;
    assert!((100..=120).contains(&ttl), "{ttl}");
    let stats: std::collections::BTreeMap<String, String> = ask(&url, &["HGETALL", "executor:hive-1:stats"]).await;
    assert_eq!(
        (stats["status"].as_str(), stats["jobs_done"].as_str(), stats["last_job_ms"].as_str()),
        ("idle", "3", "12")
    );
    let lines: u64 = ask(&url, &["XLEN", STREAM]).await;
    assert!(lines >= 2, "{lines}");

    let names = ["hive-1", "hive-9"].map(str::to_owned);
    let found = heartbeat::find(&Secret::new(url), &names, PATIENCE).await.unwrap();
    assert!(found[0].age.is_some_and(|age| age < PATIENCE), "{found:?}");
    assert_eq!(found[1], Found { executor: "hive-9".to_owned(), age: None });
    beating.end().await;
}

#[tokio::test]
async fn the_stream_keeps_a_bounded_number_of_lines() {
    let server = Redis::start();
    let url = server.url();
    let lines = heartbeat::STREAM_LINES_MAX + 1000;
    let fill = format!("for i=1,{lines} do redis.call('XADD', KEYS[1], '*', 'a', i) end");
    let () = ask(&url, &["EVAL", &fill, "1", STREAM]).await;
    let beating = Beating::start(&url);
    beating.until_more("ok").await;
    let left: u32 = ask(&url, &["XLEN", STREAM]).await;
    assert!(left <= heartbeat::STREAM_LINES_MAX + 200, "{left}");
    beating.end().await;
}

#[tokio::test]
async fn a_redis_that_goes_and_comes_back_is_found_again() {
    let server = Redis::start();
    let (url, port) = (server.url(), server.port());
    let beating = Beating::start(&url);
    beating.until_more("ok").await;
    drop(server);
    beating.until_more("failed").await;
    let _server = Redis::start_on(port).expect("the port is still free");
    beating.until_more("ok").await;
    beating.end().await;
}

#[tokio::test]
async fn a_password_is_given_and_a_wrong_one_only_counts() {
    let server = Redis::start();
    let () = ask(&server.url(), &["CONFIG", "SET", "requirepass", "hunter2"]).await;
    let good = Beating::start(&format!("redis://:hunter2@127.0.0.1:{}", server.port()));
    good.until_more("ok").await;
    good.end().await;
    let bad = Beating::start(&format!("redis://:wrong@127.0.0.1:{}", server.port()));
    bad.until_more("failed").await;
    assert_eq!(bad.count("ok"), 0);
    bad.end().await;
}

#[tokio::test]
async fn a_redis_that_never_answers_does_not_hold_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let beating = Beating::start(&format!("redis://{}", silent.local_addr().unwrap()));
    let waiting = tokio::task::spawn_blocking(move || silent.accept().map(|(stream, _)| (silent, stream)));
    let _held = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().expect("it connects");
    beating.end().await;
}

#[tokio::test]
async fn a_redis_that_never_answers_counts_as_failed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let beating = Beating::start(&format!("redis://{}", silent.local_addr().unwrap()));
    beating.until_more("failed").await;
    beating.end().await;
}
