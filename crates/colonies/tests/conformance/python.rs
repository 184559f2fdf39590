//! The public Python client does a whole job on the embedded server.
//!
//! Runs when `COLONIES_TEST_PYTHON` names a Python interpreter that has `pycolonies`.

use std::process::{Command, Stdio};

use crate::world::{SERVER_KEY, Target, World, key, variable};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_python_client_registers_submits_assigns_and_closes() {
    let Some(python) = variable("COLONIES_TEST_PYTHON") else {
        eprintln!("SKIPPED: COLONIES_TEST_PYTHON is not set, so the Python client was not tried");
        return;
    };
    let world = World::on(&Target::embedded().await).await;
    let (host, port) = world.address();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/pycolonies_job.py"))
        .args([host, port, SERVER_KEY.to_owned()])
        .args([key(), key()].map(|key| key.to_hex().expose().to_owned()))
        .stdin(Stdio::null())
        .output()
        .expect("COLONIES_TEST_PYTHON can be run");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the Python client failed\n{out}\n{err}");
    assert_eq!(out.lines().last(), Some("done"), "{out}\n{err}");
}
