//! Bodies come out of the file as they went in, take little room there, and a damaged one harms no other.

use std::num::NonZeroU32;

use proptest::prelude::*;
use rusqlite::params;

use super::super::body::{Packed, Unpacker};
use super::*;
use crate::domain::limits::WEBHOOK_BODY_BYTES_MAX;
use crate::stripe::simulator::{Options, Simulator};

/// Stores a body and reads it again.
fn round(body: &[u8]) -> Vec<u8> {
    let packed = Packed::new(body);
    let (stored, bytes) = packed.columns(body);
    assert!(stored.len() <= body.len(), "{} bytes became {}", body.len(), stored.len());
    Unpacker::default().unpack(1, stored, bytes.map(|bytes| i64::try_from(bytes).unwrap()))
}

#[test]
fn bodies_of_any_size_are_read_as_they_were_stored() {
    for bytes in [0, 1, 2, 100, 5_000, 200_000, WEBHOOK_BODY_BYTES_MAX] {
        for body in [large_body("evt_1", bytes), vec![b' '; bytes], vec![0xff; bytes]] {
            assert!(round(&body) == body, "{bytes} bytes");
        }
    }
}

proptest! {
    #[test]
    fn bodies_of_any_bytes_are_read_as_they_were_stored(body in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert_eq!(round(&body), body);
    }
}

#[test]
fn stripes_events_take_a_quarter_of_their_room() {
    let users = NonZeroU32::new(40).unwrap();
    let options = Options { seed: 11, users, api_version: None, start: START, livemode: true, account: None };
    let (mut before, mut after) = (0, 0);
    for event in Simulator::new(options).take(1500) {
        let packed = Packed::new(&event.body);
        before += event.body.len();
        after += packed.columns(&event.body).0.len();
    }
    assert!(after * 4 < before, "{before} bytes became {after}");
}

/// A frame that the command line tool wrote with the dictionary. Existing files are full of such frames: if the dictionary
/// changes, even by a byte, they can no longer be read.
#[test]
fn what_earlier_releases_stored_can_be_read() {
    let frame = "28b52ffd2601808b3d0200e87b226964223a222c2e747275652c7b222c696e5f31222c223a227d7d7d0efc10f9201ba8dccb32ee7a557f3141a0ee7edf8a2c1f08336234f1472ce75ed2750e5a5362ae48c822f8bf8c";
    let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true,"data":{"object":{"object":"invoice","id":"in_1","customer":"cus_1"}}}"#;
    assert_eq!(Unpacker::default().unpack(1, &hex::decode(frame).unwrap(), Some(139)), body);
}

/// Changes the stored bodies without the writer.
fn change(fixture: &Fixture, statement: &str, values: impl rusqlite::Params) {
    assert_eq!(Connection::open(fixture.file()).unwrap().execute(statement, values).unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_body_comes_as_no_text_and_its_neighbours_come_whole() {
    let fixture = Fixture::new();
    for id in ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"] {
        fixture.inbox().append(entry_of(&large_body(id, 400))).await.unwrap();
    }
    let stored = |entry: i64| -> Vec<u8> {
        let query = "SELECT body FROM bodies WHERE entry = ?1";
        Connection::open(fixture.file()).unwrap().query_row(query, [entry], |row| row.get(0)).unwrap()
    };
    let mut flipped = stored(2);
    *flipped.last_mut().unwrap() ^= 1;
    change(&fixture, "UPDATE bodies SET body = ?1 WHERE entry = 2", [&flipped]);
    change(&fixture, "UPDATE bodies SET bytes = bytes - 1 WHERE entry = 3", []);
    change(&fixture, "UPDATE bodies SET bytes = 1 << 60 WHERE entry = 4", []);
    change(&fixture, "UPDATE bodies SET bytes = -1 WHERE entry = 5", []);
    let mut leased = fixture.lease(10).await;
    assert_eq!(leased.len(), 3, "one that claims to be larger than all others together comes alone");
    leased.extend(fixture.lease(10).await);
    leased.extend(fixture.lease(10).await);
    let readable: Vec<bool> = leased.iter().map(|leased| std::str::from_utf8(&leased.body).is_ok()).collect();
    assert_eq!(ids(&leased), ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]);
    assert_eq!(readable, [true, false, false, false, false]);
    let story = fixture.inbox().story(EntryId(2), false).await.unwrap().unwrap();
    assert_eq!(story.body.unwrap().bytes, flipped.len());
}

#[tokio::test]
async fn a_lease_counts_bodies_as_long_as_they_will_be() {
    let fixture = Fixture::new();
    for id in ["evt_1", "evt_2", "evt_3"] {
        let mut padded = body(id);
        padded.resize(10_000, b' ');
        fixture.inbox().append(entry_of(&padded)).await.unwrap();
    }
    let request = LeaseRequest { entries_max: 10, bytes_max: 20_000, duration: MINUTE };
    let leased = fixture.inbox().lease(request).await.unwrap().entries;
    assert_eq!(ids(&leased), ["evt_1", "evt_2"]);
    assert!(leased.iter().all(|leased| leased.body.len() == 10_000));
}

#[tokio::test]
async fn a_body_that_is_stored_as_it_is_can_be_read_beside_others() {
    let fixture = Fixture::new();
    for id in ["evt_1", "evt_2"] {
        fixture.append(id).await;
    }
    change(&fixture, "UPDATE bodies SET body = ?1, bytes = NULL WHERE entry = 1", params![body("evt_1")]);
    let leased = fixture.lease(10).await;
    assert_eq!(leased.iter().map(|leased| leased.body.to_vec()).collect::<Vec<_>>(), [body("evt_1"), body("evt_2")]);
}
