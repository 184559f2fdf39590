//! The public Python client reads the gateway's jobs, plain and sealed.
//!
//! Runs when `COLONIES_TEST_PYTHON` names a Python interpreter that has `pycolonies` and `cryptography` (50 or later, for HPKE).

use std::process::{Command, Stdio};

use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::job::attestation::Signer;
use colony_gateway::job::sealing::{OpeningKey, Recipients};
use colony_gateway::job::{self, Sender, Terms};

use crate::world::{KIND, Target, World, variable};

/// What it reads of a job has to be what the gateway wrote: kwargs are strings to it, and a nested object makes it raise while
/// the process stays with its executor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_python_client_lists_assigns_and_reads_a_job_of_the_gateway() {
    let Some(python) = variable("COLONIES_TEST_PYTHON") else {
        eprintln!("SKIPPED: COLONIES_TEST_PYTHON is not set, so the Python client was not tried");
        return;
    };
    for target in Target::all().await {
        let world = World::on(&target).await;
        let (signer, ledger, bee) = (Signer::generate().unwrap(), LedgerId::draw().unwrap(), world.bee("snake").await);
        let terms = Terms::new(world.colony.clone(), KIND);
        let key = OpeningKey::generate().unwrap();
        let bees = Recipients::new(vec![key.public().clone()]).unwrap();
        let submitter = world.user.id().as_str();
        let event = r#"{"id":"evt_1","note":"w\u00f6rld","amount":9007199254740993}"#;
        for (events, recipients) in [(vec![event], None), (vec![event, "{}"], None), (vec![event], Some(&bees))] {
            let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter, recipients };
            let spec = job::seal(&sender, &events, Clock::system().now()).unwrap();
            let submitted = world.user.submit(spec.clone()).await.unwrap();
            let (host, port) = world.address();
            let output = Command::new(&python)
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/colony/pycolonies_reads.py"))
                .args([host, port, world.colony.clone(), bee.key.to_hex().expose().to_owned()])
                .arg(key.to_hex().expose())
                .stdin(Stdio::null())
                .output()
                .expect("COLONIES_TEST_PYTHON can be run");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "the Python client failed\n{out}\n{err}");
            let read: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
            assert_eq!(read["process"], submitted.processid, "{out}");
            assert_eq!(read["args"], serde_json::json!(spec.args));
            assert_eq!(read["ledger"], ledger.as_str());
            assert_eq!(read["initiator"], submitter);
            let opened = recipients.map(|_| event);
            assert_eq!(read["opened"].as_str(), opened, "a bee in Python opens what was sealed to it");
        }
    }
}
