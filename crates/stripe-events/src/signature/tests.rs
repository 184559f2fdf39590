//! The signature table case by case, known answers, and arbitrary input.

use proptest::prelude::*;

use super::*;

const SECRET: &str = "whsec_test_secret";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(text).expect("a usable secret").0
}

fn v1(key: &str, timestamp: &str, body: &[u8]) -> String {
    hex::encode(secret(key).v1(timestamp, body))
}

fn verify_with(
    secrets: &[&str],
    values: &[&str],
    body: &[u8],
    now: Timestamp,
) -> Result<VerifiedDelivery, SignatureError> {
    let secrets: Vec<SigningSecret> = secrets.iter().map(|text| secret(text)).collect();
    check_header(values.iter().map(|value| value.as_bytes()))?.verify(
        Bytes::copy_from_slice(body),
        &secrets,
        now,
        TOLERANCE_DEFAULT,
    )
}

fn verify(value: &str) -> Result<VerifiedDelivery, SignatureError> {
    verify_with(&[SECRET], &[value], BODY, NOW)
}

fn good(timestamp: i64) -> String {
    let timestamp = timestamp.to_string();
    format!("t={timestamp},v1={}", v1(SECRET, &timestamp, BODY))
}

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    secret: String,
    timestamp: i64,
    payload: String,
    v1: String,
}

#[test]
fn known_answers_of_other_implementations_are_accepted() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../tests/fixtures/signature_vectors.json")).expect("fixture");
    assert!(vectors.vectors.len() >= 6);
    for vector in vectors.vectors {
        let header = format!("t={},v1={}", vector.timestamp, vector.v1);
        let now = Timestamp::from_seconds(vector.timestamp);
        let delivery = verify_with(&[&vector.secret], &[&header], vector.payload.as_bytes(), now);
        assert!(delivery.is_ok(), "{}: {delivery:?}", vector.name);
        let mut changed = vector.payload.into_bytes();
        changed[0] ^= 1;
        let refused = verify_with(&[&vector.secret], &[&header], &changed, now);
        assert_eq!(refused.unwrap_err(), SignatureError::NoMatch, "{}", vector.name);
    }
}

#[test]
fn the_tolerance_holds_on_both_sides_and_is_inclusive() {
    assert!(verify(&good(1_700_000_000 - 300)).is_ok());
    assert_eq!(verify(&good(1_700_000_000 - 301)).unwrap_err(), SignatureError::Stale);
    assert!(verify(&good(1_700_000_000 + 300)).is_ok());
    assert_eq!(verify(&good(1_700_000_000 + 301)).unwrap_err(), SignatureError::Future);
}

#[test]
fn an_old_forgery_counts_as_forgery_and_not_as_delay() {
    let header = format!("t=1600000000,v1={}", "0".repeat(64));
    assert_eq!(verify(&header).unwrap_err(), SignatureError::NoMatch);
}

#[test]
fn any_v1_may_fit_any_secret() {
    let other = v1("whsec_old", "1700000000", BODY);
    let ours = v1(SECRET, "1700000000", BODY);
    let wrong = "00".repeat(32);
    for header in [
        format!("t=1700000000,v1={wrong},v1={ours}"),
        format!("t=1700000000,v1={ours},v1={wrong}"),
        format!("t=1700000000,v1={other},v1={ours}"),
        format!("v1={ours},t=1700000000"),
    ] {
        assert!(verify(&header).is_ok(), "{header}");
    }
    let delivery = verify_with(&[SECRET, "whsec_old"], &[&format!("t=1700000000,v1={other}")], BODY, NOW).unwrap();
    assert_eq!(delivery.secret(), secret("whsec_old").fingerprint());
    assert_eq!(delivery.signed_at(), NOW);
    assert_eq!(delivery.body().as_ref(), BODY);
}

#[test]
fn every_secret_that_signed_is_named_once_in_the_order_of_the_configuration() {
    let (old, ours) = (v1("whsec_old", "1700000000", BODY), v1(SECRET, "1700000000", BODY));
    let header = format!("t=1700000000,v1={old},v1={ours}");
    let signed = |secrets: &[&str]| -> Vec<SecretFingerprint> {
        let delivery = verify_with(secrets, &[&header], BODY, NOW).unwrap();
        assert_eq!(Some(delivery.secret()), delivery.secrets().next());
        delivery.secrets().collect()
    };
    let prints = |secrets: &[&str]| secrets.iter().map(|text| secret(text).fingerprint()).collect::<Vec<_>>();
    assert_eq!(signed(&[SECRET, "whsec_old"]), prints(&[SECRET, "whsec_old"]));
    assert_eq!(signed(&["whsec_old", "whsec_third", SECRET]), prints(&["whsec_old", SECRET]));
    assert_eq!(signed(&["whsec_old", SECRET, "whsec_old", SECRET]), prints(&["whsec_old", SECRET]));
    assert_eq!(signed(&[SECRET]), prints(&[SECRET]));
}

#[test]
fn v0_and_unknown_schemes_never_count() {
    let ours = v1(SECRET, "1700000000", BODY);
    assert_eq!(verify(&format!("t=1700000000,v0={ours}")).unwrap_err(), SignatureError::NoV1);
    assert_eq!(verify(&format!("t=1700000000,v2={ours},V1={ours}")).unwrap_err(), SignatureError::NoV1);
    assert!(verify(&format!("t=1700000000,v1={ours},v0=x,v9=y")).is_ok());
}

#[test]
fn unusable_v1_items_are_skipped() {
    let ours = v1(SECRET, "1700000000", BODY);
    for bad in ["", "zz", &ours[..63], &ours[..62], &format!("{ours}00"), &"g".repeat(64)] {
        assert_eq!(verify(&format!("t=1700000000,v1={bad}")).unwrap_err(), SignatureError::NoV1, "{bad}");
        assert!(verify(&format!("t=1700000000,v1={bad},v1={ours}")).is_ok(), "{bad}");
    }
}

#[test]
fn upper_case_hex_is_accepted() {
    let ours = v1(SECRET, "1700000000", BODY).to_uppercase();
    assert!(verify(&format!("t=1700000000,v1={ours}")).is_ok());
}

#[test]
fn items_without_an_equals_sign_are_ignored_and_space_is_trimmed() {
    let ours = v1(SECRET, "1700000000", BODY);
    assert!(verify(&format!("nonsense,t=1700000000,,v1={ours},")).is_ok());
    assert!(verify(&format!(" t = 1700000000 ,\tv1 =  {ours} ")).is_ok());
}

#[test]
fn two_timestamps_are_refused_even_when_equal() {
    let header = format!("t=1700000000,{}", good(1_700_000_000));
    assert_eq!(verify(&header).unwrap_err(), SignatureError::Timestamp);
}

#[test]
fn only_plain_timestamps_are_read() {
    for text in ["", "-1", "+1700000000", "01700000000", "00", "1700000000s", "1.7e9", "1234567890123", "١", "0x1"] {
        let header = format!("t={text},v1={}", v1(SECRET, text, BODY));
        assert_eq!(verify(&header).unwrap_err(), SignatureError::Timestamp, "{text}");
    }
    let zero = format!("t=0,v1={}", v1(SECRET, "0", BODY));
    assert!(verify_with(&[SECRET], &[&zero], BODY, Timestamp::from_seconds(0)).is_ok());
    let longest = format!("t=999999999999,v1={}", v1(SECRET, "999999999999", BODY));
    assert_eq!(verify(&longest).unwrap_err(), SignatureError::Future);
    assert_eq!(verify(&format!("v1={}", v1(SECRET, "", BODY))).unwrap_err(), SignatureError::Timestamp);
}

#[test]
fn the_header_must_be_there_exactly_once() {
    let header = good(1_700_000_000);
    assert_eq!(verify_with(&[SECRET], &[], BODY, NOW).unwrap_err(), SignatureError::Missing);
    assert_eq!(verify_with(&[SECRET], &[&header, &header], BODY, NOW).unwrap_err(), SignatureError::Repeated);
}

#[test]
fn the_header_is_capped_in_bytes_and_items() {
    let header = good(1_700_000_000);
    let fill = SIGNATURE_HEADER_BYTES_MAX - header.len() - 1;
    assert!(verify(&format!("{header},{}", "x".repeat(fill))).is_ok());
    assert_eq!(verify(&format!("{header},{}", "x".repeat(fill + 1))).unwrap_err(), SignatureError::TooLong);
    assert!(verify(&format!("{header}{}", ",".repeat(SIGNATURE_ITEMS_MAX - 2))).is_ok());
    let refused = verify(&format!("{header}{}", ",".repeat(SIGNATURE_ITEMS_MAX - 1)));
    assert_eq!(refused.unwrap_err(), SignatureError::TooLong);
}

#[test]
fn a_header_that_is_not_text_is_refused() {
    let refused = check_header([[b't', b'=', 0xff].as_slice()]).unwrap_err();
    assert_eq!(refused, SignatureError::NotText);
}

#[test]
fn secrets_are_trimmed_and_blank_or_broken_ones_refused() {
    let (trimmed, was_trimmed) = SigningSecret::parse(" whsec_test_secret\n").unwrap();
    assert!(was_trimmed);
    assert_eq!(trimmed.fingerprint(), secret(SECRET).fingerprint());
    assert_eq!(SigningSecret::parse(" \n").unwrap_err(), SigningSecretError::Blank);
    assert_eq!(SigningSecret::parse("whsec_a whsec_b").unwrap_err(), SigningSecretError::InnerWhiteSpace);
    assert!(!format!("{trimmed:?}").contains("whsec"));
}

#[test]
fn every_reason_is_listed_for_the_metrics() {
    use SignatureError as E;
    let all = [E::Missing, E::Repeated, E::TooLong, E::NotText, E::Timestamp, E::NoV1, E::NoMatch, E::Stale, E::Future];
    assert_eq!(all.map(SignatureError::reason), SignatureError::REASONS);
}

proptest! {
    #[test]
    fn arbitrary_headers_are_refused_without_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check_header([value.as_slice()]).is_err());
    }

    #[test]
    fn headers_built_of_likely_pieces_are_never_accepted(
        pieces in prop::collection::vec(prop_oneof![
            Just("t=1700000000"), Just("t="), Just("v1="), Just("v0=aa"), Just("="), Just(" "),
            Just("v1=0000000000000000000000000000000000000000000000000000000000000000"),
        ], 0..40)
    ) {
        prop_assert!(verify(&pieces.join(",")).is_err());
    }

    #[test]
    fn any_body_signed_with_the_secret_is_accepted_and_any_flipped_bit_is_not(
        body in prop::collection::vec(any::<u8>(), 1..300),
        bit in any::<prop::sample::Index>(),
    ) {
        let header = format!("t=1700000000,v1={}", v1(SECRET, "1700000000", &body));
        prop_assert!(verify_with(&[SECRET], &[&header], &body, NOW).is_ok());
        let bit = bit.index(body.len() * 8);
        let mut changed = body;
        changed[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verify_with(&[SECRET], &[&header], &changed, NOW).unwrap_err(), SignatureError::NoMatch);
    }
}
