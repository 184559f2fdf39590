//! What people did stays, in order, within its bounds.

use super::*;
use crate::inbox::{DEEDS_KEPT, DEEDS_MAX, DEEDS_PAGE_MAX, Deed};

on_every_store! {
    what_people_did_is_told_page_by_page_the_latest_first,
    what_people_did_is_forgotten_after_its_time_and_long_texts_are_cut,
}

fn deed(what: &str) -> Deed {
    Deed {
        who: "ana".to_owned(),
        role: "operator".to_owned(),
        peer: Some("203.0.113.7".to_owned()),
        via: "console".to_owned(),
        action: "drop".to_owned(),
        what: what.to_owned(),
        dry_run: false,
        result: Some("2 of 3".to_owned()),
        note: Some("not ours\0".replace('\0', "")),
    }
}

async fn what_people_did_is_told_page_by_page_the_latest_first(fixture: Fixture) {
    let inbox = fixture.inbox();
    assert_eq!(inbox.deeds(None, 10).await.unwrap(), []);
    for number in 0..5 {
        inbox.note_deed(deed(&number.to_string())).await.unwrap();
    }
    let page = inbox.deeds(None, 3).await.unwrap();
    let told: Vec<&str> = page.iter().map(|past| past.deed.what.as_str()).collect();
    assert_eq!((told, &page[0].deed, page[0].at), (vec!["4", "3", "2"], &deed("4"), START));
    let rest = inbox.deeds(Some(page[2].id), DEEDS_PAGE_MAX + 1).await.unwrap();
    assert_eq!(rest.iter().map(|past| past.deed.what.as_str()).collect::<Vec<_>>(), ["1", "0"]);
}

async fn what_people_did_is_forgotten_after_its_time_and_long_texts_are_cut(fixture: Fixture) {
    let inbox = fixture.inbox();
    inbox.note_deed(deed("old")).await.unwrap();
    fixture.clock.advance(DEEDS_KEPT + Duration::from_secs(1));
    inbox.note_deed(deed(&"é".repeat(1000))).await.unwrap();
    let page = inbox.deeds(None, 10).await.unwrap();
    assert_eq!((page.len(), page[0].deed.what.len()), (1, 500));
}

#[tokio::test]
async fn the_newest_deeds_stay_when_there_are_too_many() {
    let fixture = Fixture::new();
    fixture.inbox().note_deed(deed("first")).await.unwrap();
    let file = Connection::open(fixture.file()).unwrap();
    file.execute("UPDATE deeds SET id = ?1", [i64::try_from(DEEDS_MAX).unwrap()]).unwrap();
    file.execute(
        "INSERT INTO deeds SELECT 1, at, who, role, peer, via, action, 'oldest', dry_run, result, note FROM deeds",
        [],
    )
    .unwrap();
    fixture.inbox().note_deed(deed("last")).await.unwrap();
    let told: Vec<String> =
        fixture.inbox().deeds(None, 10).await.unwrap().into_iter().map(|past| past.deed.what).collect();
    assert_eq!(told, ["last", "first"]);
}
