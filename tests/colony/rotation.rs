//! Rotations of identities that are interrupted at every step, against a scripted server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use colonies::client::{Client, Settings};
use colonies::messages::{ChangeExecutorId, ChangeUserId, Echo, GetColonyStatistics, Statistics};
use colony_gateway::job::keys::Role;
use colony_gateway::job::keys::files;
use colony_gateway::job::keys::rotate::{Holder, RotateError, Rotated, rotate_identity};

use crate::scripted::{Act, Scripted};

struct Setting {
    _directory: tempfile::TempDir,
    path: PathBuf,
    next: PathBuf,
    old: String,
}

fn setting(role: Role) -> Setting {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("key");
    let old = files::ensure(role, &path).expect("the key can be written").0.public;
    Setting { next: directory.path().join("key.next"), path, old, _directory: directory }
}

async fn rotate(server: &Scripted, setting: &Setting) -> Result<Rotated, RotateError> {
    let call_timeout = Duration::from_secs(20);
    let settings = Settings { call_timeout, ..Settings::new(vec![server.url()]) };
    let client = Client::new(&settings).expect("the settings are sound");
    rotate_identity(&client, "rec", Holder::User, &setting.path).await
}

fn public(path: &Path) -> String {
    files::load(Role::User, path).expect("the file holds a key").public
}

fn changed() -> Act {
    Act::done::<ChangeUserId>(&Echo(ChangeUserId::default()))
}

fn known() -> Act {
    Act::done::<GetColonyStatistics>(&Statistics::default())
}

fn unknown() -> Act {
    Act::refused(403, "Access denied, not a member of Colony with name <rec>")
}

fn assert_complete(setting: &Setting, rotated: &Rotated) {
    assert_eq!(rotated.old.as_str(), setting.old);
    assert_ne!(rotated.new, rotated.old);
    assert_eq!(public(&setting.path), rotated.new.as_str());
    assert!(!setting.next.exists());
}

#[tokio::test]
async fn the_old_key_signs_the_change_to_the_new_one() {
    let (server, setting) = (Scripted::start([changed()]), setting(Role::User));
    let rotated = rotate(&server, &setting).await.unwrap();
    let envelope = server.last_envelope();
    assert_eq!(envelope.signer().unwrap(), rotated.old);
    assert_eq!(envelope.open::<ChangeUserId>().unwrap().userid, rotated.new.as_str());
    assert_complete(&setting, &rotated);
}

#[tokio::test]
async fn an_executor_changes_by_its_own_message() {
    let echo = Echo(ChangeExecutorId::default());
    let (server, setting) = (Scripted::start([Act::done::<ChangeExecutorId>(&echo)]), setting(Role::Executor));
    let client = Client::new(&Settings::new(vec![server.url()])).unwrap();
    let rotated = rotate_identity(&client, "rec", Holder::Executor, &setting.path).await.unwrap();
    assert_eq!(server.last_envelope().open::<ChangeExecutorId>().unwrap().executorid, rotated.new.as_str());
}

#[tokio::test]
async fn interrupted_before_the_change_the_same_new_key_is_used_again() {
    let (server, setting) = (Scripted::start([Act::Hang, unknown(), changed()]), setting(Role::User));
    assert!(matches!(rotate(&server, &setting).await, Err(RotateError::Call(_))), "the change was lost");
    let next = public(&setting.next);
    assert_eq!(public(&setting.path), setting.old);
    let rotated = rotate(&server, &setting).await.unwrap();
    assert_eq!(rotated.new.as_str(), next);
    assert_complete(&setting, &rotated);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_found_out_in_the_same_run() {
    let (server, setting) = (Scripted::start([Act::Hang, known()]), setting(Role::User));
    let rotated = rotate(&server, &setting).await.unwrap();
    assert_eq!(server.last_envelope().signer().unwrap(), rotated.new, "asked as the new identity");
    assert_complete(&setting, &rotated);
}

#[tokio::test]
async fn interrupted_after_the_change_the_next_run_completes_it() {
    let (server, setting) = (Scripted::start([Act::Hang, Act::Hang, unknown(), known()]), setting(Role::User));
    assert!(matches!(rotate(&server, &setting).await, Err(RotateError::Call(_))), "neither answer arrived");
    assert_eq!(public(&setting.path), setting.old);
    let rotated = rotate(&server, &setting).await.unwrap();
    assert_complete(&setting, &rotated);
}

#[tokio::test]
async fn when_the_colony_knows_neither_key_both_are_kept() {
    let (server, setting) = (Scripted::start([unknown(), unknown()]), setting(Role::User));
    assert!(matches!(rotate(&server, &setting).await, Err(RotateError::NeitherKnown { .. })));
    assert_eq!(public(&setting.path), setting.old);
    assert!(setting.next.exists());
}

#[tokio::test]
async fn a_refusal_that_is_certain_is_reported_without_asking_further() {
    let (server, setting) =
        (Scripted::start([Act::refused(403, "Access denied, not colony owner")]), setting(Role::User));
    assert!(matches!(rotate(&server, &setting).await, Err(RotateError::Call(_))));
    assert_eq!(server.requests(), 1);
}
