//! New keys under load.

use std::time::Duration;

use colony_gateway::bees::KeySource;
use colony_gateway::domain::secret::Secret;
use colony_gateway::job::attestation::Signer;
use colony_gateway::job::keys::files::{self, Access};
use colony_gateway::job::keys::rotate::rotate_executor;
use colony_gateway::job::keys::{Role, files::load};

use crate::hive::Hive;

#[tokio::test]
async fn executors_get_new_keys_under_load_and_every_event_is_applied_once() {
    let mut hive = Hive::new().await;
    // What is in hand under an old id can be closed by nobody: its lease ends soon.
    hive.lease = Duration::from_secs(3);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("executor");
    files::write_new(&path, &Secret::new(hive.executor_key.to_hex().expose()), Access::Owner).unwrap();
    let mut plan = hive.plan("hive", 3);
    plan.keys = KeySource::File(path.clone());
    let bees = plan.start();
    bees.until_registered(3).await;

    let mut processes = Vec::new();
    for number in 0..30 {
        processes.push(hive.submit(&[&format!("{number}a"), &format!("{number}b")]).await);
        if number == 10 || number == 20 {
            rotate_executor(&hive.client, crate::hive::COLONY, &path).await.unwrap();
        }
    }
    for process in &processes {
        hive.result(process).await;
    }
    assert_ne!(load(Role::Executor, &path).unwrap().public, hive.executor_key.id().as_str());
    assert_eq!(hive.gateway.executors().await.unwrap().len(), 3, "no executor was added for a new key");
    bees.stop().await;
    hive.assert_applied_once(60).await;
}

#[tokio::test]
async fn during_the_overlap_of_attestation_keys_jobs_of_both_are_done() {
    let mut hive = Hive::new().await;
    let next = Signer::generate().unwrap();
    let mut plan = hive.plan("hive", 2);
    plan.trusted.push(next.public().clone());
    let bees = plan.start();
    let before = hive.submit(&["before"]).await;
    hive.signer = next;
    let after = hive.submit(&["after"]).await;
    hive.result(&before).await;
    hive.result(&after).await;
    bees.stop().await;
    hive.assert_applied_once(2).await;
}
