//! What a verifier believes, and every way in which it does not. The known answers were made by another
//! implementation, in another language, from the documentation of the signed bytes alone.

use proptest::prelude::*;

use super::*;
use crate::domain::secret::Secret;
use crate::job::attestation::{AttestationKeyError, Signer};

const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SEED_BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const PUBLIC_BASE64: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg";
const NOW: Timestamp = Timestamp::from_seconds(1_795_280_627);
const NONCE: [u8; NONCE_BYTES] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
const CLAIM: Claim<'_> = Claim {
    colony: "rec",
    ledger: "0123456789abcdef0123456789abcdef",
    submitter: "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac",
    function: "validate_revenue",
    encoding: "",
    args: &[r#"{"id":"evt_1","note":"é"}"#],
};

fn signer() -> Signer {
    Signer::parse(&Secret::new(SEED)).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(Trust::new(vec![signer().public().clone()])).unwrap()
}

fn process() -> ProcessId {
    ProcessId::new("p1")
}

fn verdict(attestation: &Attestation, claim: Claim<'_>, now: Timestamp) -> Result<Verified, Rejection> {
    verifier().verify(attestation, claim, &process(), now)
}

#[test]
fn another_implementation_of_the_documented_bytes_makes_the_same_signature() {
    let made = signer().attest_with(CLAIM, NOW, NONCE);
    assert_eq!((made.alg.as_str(), made.kid.as_str()), ("Ed25519", "56475aa75463474c"));
    assert_eq!((made.iat.as_str(), made.nonce.as_str()), ("1795280627", "00112233445566778899aabbccddeeff"));
    assert_eq!(
        made.sig,
        "cfcfd44ebad800ff0f070777bddd394c66283901426fab0beae39c0abd645a988d1641cebfa9b670e6790ba95c72839254d658664be0278503daf158f6903508"
    );
    let batch = Claim { encoding: "zstd+json", args: &["KLUv", "/Q=="], ..CLAIM };
    assert_eq!(
        signer().attest_with(batch, Timestamp::from_millis(0), [0xff; NONCE_BYTES]).sig,
        "f1af742cefd647f7f910d2542296cbef9be5f8f0dd78abc12ec2ddcaec7a4f0a4d5ff18662fb04ff174b512f542708345b18f72960b31e1df6f868be4a80a705"
    );
}

#[test]
fn keys_are_read_from_hex_and_from_base64_alike() {
    for (seed, public) in
        [(SEED, PUBLIC), (SEED_BASE64, PUBLIC_BASE64), (&format!(" {SEED}\n"), &PUBLIC.to_uppercase())]
    {
        assert_eq!(Signer::parse(&Secret::new(seed)).unwrap().public(), &PublicKey::parse(public).unwrap());
    }
    assert_eq!(signer().public().to_hex(), PUBLIC);
    assert_eq!(signer().to_hex().expose(), SEED);
}

#[test]
fn what_is_not_a_key_is_refused_with_its_reason() {
    for text in ["", "00", "zz", &"zz".repeat(32), &SEED[2..], &SEED_BASE64[4..], "é"] {
        assert_eq!(PublicKey::parse(text), Err(AttestationKeyError::Text), "{text}");
        assert!(Signer::parse(&Secret::new(text)).is_err(), "{text}");
    }
    let no_point = format!("02{}", "00".repeat(31));
    assert_eq!(PublicKey::parse(&no_point), Err(AttestationKeyError::NotAPoint));
    let small_order = format!("01{}", "00".repeat(31));
    assert_eq!(PublicKey::parse(&small_order), Err(AttestationKeyError::Weak));
}

#[test]
fn debug_output_of_a_signer_shows_nothing_of_its_secret() {
    let shown = format!("{:?}", signer());
    assert!(shown.contains(PUBLIC) && !shown.contains(&SEED[..12]), "{shown}");
}

#[test]
fn what_a_trusted_gateway_attested_is_believed_more_than_once_for_its_process_only() {
    let (verifier, attestation) = (verifier(), signer().attest(CLAIM, NOW).unwrap());
    let believed = Verified { kid: signer().public().kid().to_owned(), issued_at: NOW };
    for _ in 0..2 {
        assert_eq!(verifier.verify(&attestation, CLAIM, &process(), NOW), Ok(believed.clone()));
    }
    assert_eq!(verifier.verify(&attestation, CLAIM, &ProcessId::new("p2"), NOW), Err(Rejection::Replayed));
    assert_eq!(verifier.forgotten_nonces(), 0);
}

#[test]
fn two_attestations_of_the_same_claim_differ() {
    let (one, two) = (signer().attest(CLAIM, NOW).unwrap(), signer().attest(CLAIM, NOW).unwrap());
    assert_ne!(one.nonce, two.nonce);
    assert_ne!(one.sig, two.sig);
}

#[test]
fn a_signature_does_not_fit_another_claim() {
    let attestation = signer().attest(CLAIM, NOW).unwrap();
    for other in [
        Claim { colony: "other", ..CLAIM },
        Claim { function: "other", ..CLAIM },
        Claim { encoding: "zstd+json", ..CLAIM },
        Claim { args: &[], ..CLAIM },
        Claim { args: &["{}"], ..CLAIM },
        Claim { args: &[CLAIM.args[0], ""], ..CLAIM },
    ] {
        assert_eq!(verdict(&attestation, other, NOW), Err(Rejection::Signature), "{other:?}");
    }
}

#[test]
fn a_genuine_attestation_for_others_is_told_from_a_forged_one_and_leaves_its_nonce_free() {
    let (verifier, attestation) = (verifier(), signer().attest(CLAIM, NOW).unwrap());
    let thief = ProcessId::new("p2");
    for (claim, expected) in [
        (Claim { submitter: "mallory", ..CLAIM }, Rejection::OtherSubmitter),
        (Claim { ledger: "another", ..CLAIM }, Rejection::OtherLedger),
    ] {
        assert_eq!(verifier.verify(&attestation, claim, &thief, NOW), Err(expected));
    }
    assert!(verifier.verify(&attestation, CLAIM, &process(), NOW).is_ok(), "the thief was faster");
    for changed in [
        Attestation { ledger: "another".to_owned(), ..attestation.clone() },
        Attestation { submitter: "mallory".to_owned(), ..attestation.clone() },
    ] {
        assert_eq!(verdict(&changed, CLAIM, NOW), Err(Rejection::Signature));
    }
}

#[test]
fn every_field_of_an_attestation_counts() {
    let good = signer().attest(CLAIM, NOW).unwrap();
    let changed = |change: fn(&mut Attestation)| {
        let mut attestation = good.clone();
        change(&mut attestation);
        verdict(&attestation, CLAIM, NOW)
    };
    assert_eq!(changed(|it| it.alg = "none".to_owned()), Err(Rejection::Algorithm));
    assert_eq!(changed(|it| it.alg = "ed25519".to_owned()), Err(Rejection::Algorithm));
    assert_eq!(changed(|it| it.kid = "0011223344556677".to_owned()), Err(Rejection::UnknownKey));
    assert_eq!(changed(|it| it.iat = "1795280628".to_owned()), Err(Rejection::Signature));
    assert_eq!(changed(|it| it.nonce = "f".repeat(32)), Err(Rejection::Signature));
    assert_eq!(changed(|it| it.sig = "0".repeat(128)), Err(Rejection::Signature));
    for iat in ["", "-1", "+1795280627", "01795280627", "1.5", "9223372036854775808", "now"] {
        let attestation = Attestation { iat: iat.to_owned(), ..good.clone() };
        assert_eq!(verdict(&attestation, CLAIM, NOW), Err(Rejection::Malformed { field: "iat" }), "{iat}");
    }
    for nonce in ["", "00", &"F".repeat(32), &"z".repeat(32), &"0".repeat(34)] {
        let attestation = Attestation { nonce: nonce.to_owned(), ..good.clone() };
        assert_eq!(verdict(&attestation, CLAIM, NOW), Err(Rejection::Malformed { field: "nonce" }), "{nonce}");
    }
    for sig in ["", &good.sig[2..], &format!("{}00", good.sig), &good.sig.to_uppercase()] {
        let attestation = Attestation { sig: sig.to_owned(), ..good.clone() };
        assert_eq!(verdict(&attestation, CLAIM, NOW), Err(Rejection::Malformed { field: "sig" }), "{sig}");
    }
}

#[test]
fn another_key_that_borrows_the_name_of_a_trusted_one_is_not_believed() {
    let mut forged = Signer::generate().unwrap().attest(CLAIM, NOW).unwrap();
    assert_eq!(verdict(&forged, CLAIM, NOW), Err(Rejection::UnknownKey));
    forged.kid = signer().public().kid().to_owned();
    assert_eq!(verdict(&forged, CLAIM, NOW), Err(Rejection::Signature));
}

#[test]
fn age_is_bounded_at_both_ends() {
    let attestation = signer().attest(CLAIM, NOW).unwrap();
    let second = Duration::from_secs(1);
    assert!(verdict(&attestation, CLAIM, NOW.plus(MAX_AGE)).is_ok());
    let too_old = verdict(&attestation, CLAIM, NOW.plus(MAX_AGE + second));
    assert_eq!(too_old, Err(Rejection::TooOld { age: MAX_AGE + second }));
    assert!(verdict(&attestation, CLAIM, NOW.minus(FUTURE_SKEW)).is_ok());
    let early = verdict(&attestation, CLAIM, NOW.minus(FUTURE_SKEW + second));
    assert_eq!(early, Err(Rejection::FromTheFuture { ahead: FUTURE_SKEW + second }));
    let huge = signer().attest_with(CLAIM, Timestamp::from_millis(i64::MAX), NONCE);
    assert!(matches!(verdict(&huge, CLAIM, NOW), Err(Rejection::FromTheFuture { .. })));
}

#[test]
fn during_a_rotation_both_keys_are_believed_and_afterwards_only_the_new_one() {
    let (old, new) = (signer(), Signer::generate().unwrap());
    let both = Verifier::new(Trust::new(vec![old.public().clone(), new.public().clone()])).unwrap();
    let after = Verifier::new(Trust::new(vec![new.public().clone()])).unwrap();
    let (by_old, by_new) = (old.attest(CLAIM, NOW).unwrap(), new.attest(CLAIM, NOW).unwrap());
    for (verifier, attestation, expected) in [
        (&both, &by_old, Ok(())),
        (&both, &by_new, Ok(())),
        (&after, &by_old, Err(Rejection::UnknownKey)),
        (&after, &by_new, Ok(())),
    ] {
        assert_eq!(verifier.verify(attestation, CLAIM, &process(), NOW).map(|_| ()), expected);
    }
}

#[test]
fn a_key_that_was_replaced_is_believed_until_its_time_is_over() {
    let (old, new) = (signer(), Signer::generate().unwrap());
    let (verifier, second) = (verifier(), Duration::from_secs(1));
    let until = NOW.plus(Duration::from_mins(3));
    verifier.replace(vec![new.public().clone()], until).unwrap();
    let by_old = |now| verifier.verify(&old.attest(CLAIM, NOW).unwrap(), CLAIM, &process(), now).map(|_| ());
    assert_eq!([by_old(NOW), by_old(until)], [Ok(()), Ok(())]);
    assert_eq!(by_old(until.plus(second)), Err(Rejection::UnknownKey));
    // Another replacement gives it no more time.
    let newer = Signer::generate().unwrap();
    verifier.replace(vec![newer.public().clone()], until.plus(second * 60)).unwrap();
    assert_eq!(by_old(until.plus(second)), Err(Rejection::UnknownKey));
    for signer in [&new, &newer] {
        verifier.verify(&signer.attest(CLAIM, NOW).unwrap(), CLAIM, &process(), until.plus(second)).unwrap();
    }
    // A list of all trusted keys ends it at once.
    verifier.renew(vec![newer.public().clone()]).unwrap();
    assert_eq!(by_old(NOW), Err(Rejection::UnknownKey));
}

#[test]
fn keys_that_were_replaced_take_no_room_from_those_that_replace_them() {
    let verifier = verifier();
    for _ in 0..2 * TRUSTED_KEYS_MAX {
        let new = Signer::generate().unwrap();
        verifier.replace(vec![new.public().clone()], NOW).unwrap();
        verifier.verify(&new.attest(CLAIM, NOW).unwrap(), CLAIM, &process(), NOW.plus(MAX_AGE)).unwrap();
        assert!(verifier.keys().len() <= TRUSTED_KEYS_MAX);
    }
}

#[test]
fn former_keys_whose_time_is_over_take_no_room_from_one_whose_jobs_are_on_their_way() {
    let (verifier, mut before, mut now) = (verifier(), signer(), NOW);
    for _ in 0..2 * TRUSTED_KEYS_MAX {
        let new = Signer::generate().unwrap();
        let job = before.attest(CLAIM, now).unwrap();
        let until = now.plus(Duration::from_mins(3));
        verifier.replace(vec![new.public().clone()], until).unwrap();
        verifier.verify(&job, CLAIM, &process(), until).unwrap();
        (before, now) = (new, until.plus(Duration::from_mins(1)));
    }
}

#[test]
fn a_verifier_trusts_at_least_one_key_and_not_more_than_its_bound() {
    assert_eq!(Verifier::new(Trust::new(vec![])).unwrap_err(), VerifierError::NoKey);
    let keys = |count| (0..count).map(|_| Signer::generate().unwrap().public().clone()).collect();
    assert!(Verifier::new(Trust::new(keys(TRUSTED_KEYS_MAX))).is_ok());
    let refused = Verifier::new(Trust::new(keys(TRUSTED_KEYS_MAX + 1))).unwrap_err();
    assert_eq!(refused, VerifierError::TooManyKeys { count: TRUSTED_KEYS_MAX + 1 });
}

#[test]
fn what_is_not_believed_takes_no_room_in_the_memory_against_replay() {
    let trust = Trust { replay_nonces: NonZeroUsize::MIN, ..Trust::new(vec![signer().public().clone()]) };
    let verifier = Verifier::new(trust).unwrap();
    let good = signer().attest(CLAIM, NOW).unwrap();
    verifier.verify(&good, CLAIM, &process(), NOW).unwrap();
    let forged = Attestation { sig: "0".repeat(128), ..signer().attest(CLAIM, NOW).unwrap() };
    verifier.verify(&forged, CLAIM, &process(), NOW).unwrap_err();
    assert_eq!(verifier.forgotten_nonces(), 0);
    assert_eq!(verifier.verify(&good, CLAIM, &ProcessId::new("p2"), NOW), Err(Rejection::Replayed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,140}", digits in "[0-9a-fA-F]{60,140}") {
        for text in [&text, &digits] {
            let _ = PublicKey::parse(text);
            let _ = Signer::parse(&Secret::new(text.clone()));
            let good = signer().attest_with(CLAIM, NOW, NONCE);
            for attestation in [
                Attestation { iat: text.clone(), ..good.clone() },
                Attestation { nonce: text.clone(), ..good.clone() },
                Attestation { sig: text.clone(), ..good.clone() },
            ] {
                prop_assert!(verdict(&attestation, CLAIM, NOW).is_err());
            }
        }
    }
}
