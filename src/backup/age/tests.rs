//! The program with stand-ins: what goes in and comes out, what it is told, and how it fails or hangs.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Long enough for a program that works, and short enough to wait for one that does not.
const SHORT: Duration = Duration::from_millis(200);

/// A program called `age` that runs this script.
fn stand_in(script: &str) -> (tempfile::TempDir, Age) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("age");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let environment = [("PATH", path), ("STRIPE_SECRET_KEY", "sk_planted".to_owned())];
    let age = Age::find(&environment.map(|(name, value)| (name.to_owned(), value)).into()).unwrap();
    (directory, age)
}

fn recipients() -> Recipients {
    Recipients::parse(["age1qqq"].into_iter()).unwrap()
}

/// Encrypts so many bytes. Returns how it ended, and what was written.
fn encrypt(age: &Age, bytes: usize) -> (Result<io::Result<()>, Complaint>, Vec<u8>) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let mut encrypting = age.encrypt(&recipients(), out.as_file()).unwrap();
    let written = encrypting.write_all(&vec![b'x'; bytes]);
    (encrypting.finish(written), std::fs::read(out.path()).unwrap())
}

/// Decrypts. Returns the output, and how it ended.
fn decrypt(age: &Age) -> (io::Result<Vec<u8>>, Result<(), Complaint>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "AGE-SECRET-KEY-1PLANTED").unwrap();
    let mut decrypting = age.decrypt(Path::new("-archive"), &Identities::read(file.path()).unwrap()).unwrap();
    let mut plain = Vec::new();
    let read = decrypting.read_to_end(&mut plain);
    (read.map(|_| plain), decrypting.finish())
}

#[test]
fn everything_goes_through_the_program_and_comes_back() {
    let (_directory, age) = stand_in("cat");
    let (ended, written) = encrypt(&age, 1_000_000);
    assert!(matches!(ended, Ok(Ok(()))) && written == vec![b'x'; 1_000_000], "{ended:?}");
    let (plain, ended) = decrypt(&age);
    assert_eq!((plain.unwrap(), ended), (b"AGE-SECRET-KEY-1PLANTED".to_vec(), Ok(())));
}

#[test]
fn no_secret_is_on_the_command_line_or_in_the_environment() {
    let (_directory, age) = stand_in("echo \"$@\"; env");
    let (seen, _) = decrypt(&age);
    let seen = String::from_utf8(seen.unwrap()).unwrap();
    assert!(seen.starts_with("--decrypt --identity - ./-archive\n") && seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("PLANTED") && !seen.contains("planted"), "{seen}");
}

#[test]
fn a_program_that_fails_is_an_error_with_its_words() {
    let (_directory, age) =
        stand_in("head -c 10; echo 'age: error: no' >&2; echo 'age: report unexpected things' >&2; exit 1");
    for bytes in [10, 1_000_000] {
        let (ended, _) = encrypt(&age, bytes);
        assert_eq!(ended.unwrap_err(), Complaint("no".to_owned()), "{bytes} bytes");
    }
    let (plain, ended) = decrypt(&age);
    assert_eq!((plain.unwrap(), ended), (b"AGE-SECRET".to_vec(), Err(Complaint("no".to_owned()))));
    let (_directory, silent) = stand_in("exit 3");
    assert_eq!(encrypt(&silent, 10).0.unwrap_err(), Complaint("exit status: 3".to_owned()));
}

#[test]
fn a_program_that_talks_without_end_is_ended() {
    let (_directory, age) = stand_in("while :; do echo words words words words >&2; done");
    assert!(encrypt(&age, 10).0.unwrap_err().0.starts_with("words words"));
}

#[test]
fn a_program_that_does_nothing_is_ended() {
    let (_directory, mut age) = stand_in("exec sleep 600");
    age.patience = SHORT;
    // The program reads nothing, does not end, and writes nothing.
    for bytes in [1_000_000, 10] {
        assert!(encrypt(&age, bytes).0.unwrap_err().0.contains("did nothing"), "{bytes} bytes");
    }
    let (plain, ended) = decrypt(&age);
    assert_eq!(plain.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(ended.unwrap_err().0.contains("did nothing"));
}

#[test]
fn a_machine_without_the_program_is_told_how_to_get_it() {
    let environment = [("PATH".to_owned(), "/nowhere".to_owned())].into();
    let error = Age::find(&environment).unwrap_err();
    assert!(matches!(error, BackupError::NoAge) && error.to_string().contains("apt install age"), "{error}");
}
