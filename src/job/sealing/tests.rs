//! What is sealed opens with any of the keys and with no other. The known answer was made by another implementation, in
//! another language, from the documentation of the argument alone.

use proptest::prelude::*;

use super::*;
use crate::domain::secret::Secret;
use crate::job::keys::opening::Openers;

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PUBLIC: &str = "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f";

/// Sealed by `cryptography` in Python to [`PUBLIC`].
const BY_OTHERS: &str = include_str!("../../../tests/fixtures/colonies/sealed_by_python.json");

fn key() -> OpeningKey {
    OpeningKey::generate().unwrap()
}

fn openers(keys: &[&OpeningKey]) -> Openers {
    let text: Vec<String> = keys.iter().map(|key| key.to_hex().expose().to_owned()).collect();
    Openers::given(&Secret::new(text.join(","))).unwrap()
}

fn sealed(keys: &[&OpeningKey], text: &[u8]) -> String {
    Recipients::new(keys.iter().map(|key| key.public().clone()).collect()).unwrap().seal(text).unwrap()
}

fn changed(text: &str, change: impl FnOnce(&mut Sealed)) -> String {
    let mut sealed: Sealed = serde_json::from_str(text).unwrap();
    change(&mut sealed);
    serde_json::to_string(&sealed).unwrap()
}

#[test]
fn each_recipient_opens_what_is_sealed_and_nobody_else_does() {
    let (one, two, other) = (key(), key(), key());
    let text = sealed(&[&one, &two], "{\"note\":\"é\"}".as_bytes());
    assert!(!text.contains("note"));
    for own in [&[&one][..], &[&two], &[&other, &two]] {
        assert_eq!(openers(own).open(&text).unwrap().as_slice(), "{\"note\":\"é\"}".as_bytes());
    }
    let error = openers(&[&other]).open(&text).unwrap_err();
    assert_eq!(error.code(), "sealed_to_others");
    let said = error.to_string();
    assert!([&one, &two, &other].iter().all(|key| said.contains(key.public().kid())), "{said}");
    assert!(openers(&[]).open(&text).unwrap_err().to_string().contains("none"));
}

#[test]
fn nothing_of_two_seals_of_one_text_is_the_same() {
    let key = key();
    let [one, two] = [(); 2].map(|()| serde_json::from_str::<Sealed>(&sealed(&[&key], b"{}")).unwrap());
    assert!(one.data != two.data && one.keys[0].enc != two.keys[0].enc && one.keys[0].key != two.keys[0].key);
}

#[test]
fn what_was_changed_does_not_open_and_says_so() {
    let (own, other) = (key(), key());
    let text = sealed(&[&own], b"{}");
    let elsewhere: Sealed = serde_json::from_str(&sealed(&[&other], b"[]")).unwrap();
    let code = |text: &str| openers(&[&own]).open(text).unwrap_err().code();
    for text in [
        changed(&text, |it| it.data = elsewhere.data.clone()),
        changed(&text, |it| it.keys[0].enc.clone_from(&elsewhere.keys[0].enc)),
        changed(&text, |it| it.keys[0].key.clone_from(&elsewhere.keys[0].key)),
        changed(&text, |it| it.keys[0].enc = "!".to_owned()),
        changed(&text, |it| it.keys[0].enc = STANDARD.encode([0; 32])),
        changed(&text, |it| it.data = String::new()),
        changed(&text, |it| it.alg = "none".to_owned()),
        "{}".to_owned(),
        "a".repeat(SEALED_BYTES_MAX + 1),
    ] {
        assert_eq!(code(&text), "sealed_malformed", "{}", &text[..text.len().min(200)]);
    }
    assert_eq!(code(&changed(&text, |it| it.keys.clear())), "sealed_to_others");
}

#[test]
fn what_another_implementation_sealed_opens() {
    let own = OpeningKey::parse(&Secret::new(SECRET)).unwrap();
    assert_eq!(own.public().to_hex(), PUBLIC);
    let text = openers(&[&own]).open(BY_OTHERS.trim()).unwrap();
    assert_eq!(text.as_slice(), "{\"id\":\"evt_1\",\"note\":\"é\"}".as_bytes());
}

#[test]
fn keys_are_read_from_hex_and_base64_and_those_of_no_use_are_refused() {
    let parsed = RecipientKey::parse(PUBLIC).unwrap();
    let base64 = STANDARD.encode(hex::decode(PUBLIC).unwrap());
    assert_eq!(RecipientKey::parse_list(&format!(" {base64},\n{PUBLIC}")).unwrap(), [parsed.clone(), parsed]);
    for text in ["", "00", &"zz".repeat(32)] {
        assert_eq!(RecipientKey::parse(text), Err(SealingKeyError::Text), "{text}");
        assert!(OpeningKey::parse(&Secret::new(text)).is_err());
    }
    for point in ["00".repeat(32), format!("01{}", "00".repeat(31))] {
        assert_eq!(RecipientKey::parse(&point), Err(SealingKeyError::NotAKey), "of small order");
    }
    let shown = format!("{:?}", OpeningKey::parse(&Secret::new(SECRET)).unwrap());
    assert!(shown.contains(PUBLIC) && !shown.contains(&SECRET[..16]), "{shown}");
}

#[test]
fn a_job_has_from_one_to_as_many_recipients_as_the_bound_and_each_once() {
    assert_eq!(Recipients::new(Vec::new()), Err(RecipientsError::None));
    let keys: Vec<RecipientKey> = (0..=RECIPIENTS_MAX).map(|_| key().public().clone()).collect();
    let twice = [keys[..RECIPIENTS_MAX].to_vec(), keys[..1].to_vec()].concat();
    assert_eq!(Recipients::new(twice).unwrap().keys().len(), RECIPIENTS_MAX);
    assert_eq!(Recipients::new(keys), Err(RecipientsError::TooMany { count: RECIPIENTS_MAX + 1 }));
}

#[test]
fn the_largest_batch_fits_sealed_to_the_most_recipients() {
    let keys: Vec<OpeningKey> = (0..RECIPIENTS_MAX).map(|_| key()).collect();
    let keys: Vec<&OpeningKey> = keys.iter().collect();
    let largest = vec![b'x'; super::super::batch::ENCODED_BYTES_MAX / 4 * 3];
    let text = sealed(&keys, &largest);
    assert_eq!(openers(&keys[RECIPIENTS_MAX - 1..]).open(&text).unwrap().len(), largest.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,140}") {
        let own = OpeningKey::parse(&Secret::new(SECRET)).unwrap();
        prop_assert!(openers(&[&own]).open(&text).is_err());
        let _ = RecipientKey::parse_list(&text);
        let good = sealed(&[&own], b"{}");
        prop_assert!(openers(&[&own]).open(&changed(&good, |it| it.keys[0].kid.clone_from(&text))).is_err());
    }
}
