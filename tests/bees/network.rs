//! Bees behind a network that loses what the server says.

use colonies::client::{Client, ServerUrl, Settings};
use colony_gateway::lifecycle::Ending;
use colony_gateway::telemetry::health::Level;

use crate::hive::{Bees, Hive};
use crate::proxy::{Mode, Proxy};

/// Bees that reach the server through a proxy.
async fn behind(proxy: &Proxy, hive: &Hive, count: usize) -> Bees {
    let mut plan = hive.plan("hive", count);
    let settings = Settings::new(ServerUrl::parse_list(&proxy.url(), None, None).unwrap());
    plan.client = Client::new(&settings).unwrap();
    let bees = plan.start();
    bees.until_registered(count).await;
    bees
}

#[tokio::test]
async fn a_lease_whose_grant_was_lost_on_the_way_is_found_and_the_job_done_before_it_ends() {
    // Time stands still for the server: a lease that nobody works on would stay for ever.
    let hive = Hive::with_time_stopped().await;
    let proxy = Proxy::start(hive.server.local_addr()).await;
    let bees = behind(&proxy, &hive, 1).await;
    for number in 0..5 {
        // The next answer is that to the poll under way, or to the closing of a job.
        let broken = proxy.broken();
        proxy.set(Mode::LoseReplies, 1);
        let process = hive.submit(&[&number.to_string()]).await;
        hive.result(&process).await;
        assert_eq!(proxy.broken(), broken + 1);
        assert_eq!(hive.now(&process).await.retries, 0, "no lease was lost");
    }
    assert_eq!(bees.stop().await, Ending::Clean);
    hive.assert_applied_once(5).await;
}

#[tokio::test]
async fn while_the_colony_is_away_bees_say_so_and_come_back_by_themselves() {
    let hive = Hive::new().await;
    let mut proxy = Proxy::start(hive.server.local_addr()).await;
    let bees = behind(&proxy, &hive, 2).await;
    proxy.refuse().await;
    bees.until("colony_gateway_bees{state=\"failing\"}", 2).await;
    assert_eq!(bees.board.read()["bees"].status, Level::Degraded);
    let process = hive.submit(&["a"]).await;
    proxy.listen_again().await;
    proxy.set(Mode::LoseRequests, 2);
    hive.result(&process).await;
    bees.until("colony_gateway_bees{state=\"idle\"}", 2).await;
    proxy.set(Mode::Pass, 0);
    bees.stop().await;
    hive.assert_applied_once(1).await;
}

#[tokio::test]
async fn bees_end_in_time_while_the_colony_is_away() {
    let hive = Hive::new().await;
    let mut proxy = Proxy::start(hive.server.local_addr()).await;
    let bees = behind(&proxy, &hive, 2).await;
    proxy.refuse().await;
    let ended = crate::hive::patiently("the bees end", bees.stop()).await;
    assert_eq!(ended, Ending::Clean);
}
