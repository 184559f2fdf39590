//! What people did stays, in order, within its bounds.

use super::*;
use crate::inbox::deeds::LIGHT_DEEDS_MAX;
use crate::inbox::{DEEDS_KEPT, DEEDS_MAX, DEEDS_PAGE_MAX, Deed};

on_every_store! {
    what_people_did_is_told_page_by_page_the_latest_first,
    what_people_did_is_forgotten_after_its_time_and_long_texts_are_cut,
    logins_and_what_viewers_do_push_out_no_order,
    light_deeds_have_a_bound_of_their_own,
    the_newest_deeds_stay_when_there_are_too_many,
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

/// Fills a store with so many more deeds like the newest, a day old.
async fn fill(fixture: &Fixture, count: usize) {
    let columns = "at, who, role, peer, via, action, what, dry_run, result, note";
    match &fixture.database {
        None => {
            let file = Connection::open(fixture.file()).unwrap();
            let rows = format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
                 INSERT INTO deeds ({columns}) SELECT {columns} FROM n, (SELECT * FROM deeds ORDER BY id DESC LIMIT 1)"
            );
            file.execute(&rows, []).unwrap();
        }
        Some(database) => {
            let rows = format!(
                "INSERT INTO gateway_inbox.deeds (id, {columns})
                 SELECT d.id + n, {columns} FROM generate_series(1, {count}) n,
                     (SELECT * FROM gateway_inbox.deeds ORDER BY id DESC LIMIT 1) d"
            );
            database.run(&rows).await;
        }
    }
    fixture.clock.advance(DAY);
}

async fn logins_and_what_viewers_do_push_out_no_order(fixture: Fixture) {
    let inbox = fixture.inbox();
    let login = || Deed { role: "viewer".to_owned(), action: "login".to_owned(), ..deed("a login") };
    inbox.note_deed(deed("an order")).await.unwrap();
    inbox.note_deed(login()).await.unwrap();
    fill(&fixture, DEEDS_MAX).await;
    for _ in 0..100 {
        inbox.note_deed(login()).await.unwrap();
    }
    let deeds = inbox.all_deeds().await.unwrap();
    assert_eq!(deeds[0].deed.what, "an order", "of {}", deeds.len());
    assert!(deeds.len() <= DEEDS_MAX + 2, "they go by and by: {}", deeds.len());
    for light in [
        Deed { dry_run: true, ..deed("x") },
        Deed { action: "refused".to_owned(), ..deed("x") },
        Deed { role: "viewer".to_owned(), ..deed("x") },
    ] {
        assert!(light.is_light() && !deed("x").is_light());
    }
}

async fn light_deeds_have_a_bound_of_their_own(fixture: Fixture) {
    let inbox = fixture.inbox();
    let dry_run = || Deed { dry_run: true, ..deed("a dry run") };
    inbox.note_deed(deed("an order")).await.unwrap();
    inbox.note_deed(dry_run()).await.unwrap();
    fill(&fixture, LIGHT_DEEDS_MAX).await;
    for _ in 0..100 {
        inbox.note_deed(dry_run()).await.unwrap();
    }
    let deeds = inbox.all_deeds().await.unwrap();
    assert!(deeds.len() <= LIGHT_DEEDS_MAX + 1 && deeds[0].deed.what == "an order", "{}", deeds.len());
}

async fn the_newest_deeds_stay_when_there_are_too_many(fixture: Fixture) {
    let inbox = fixture.inbox();
    inbox.note_deed(deed("old")).await.unwrap();
    fill(&fixture, DEEDS_MAX).await;
    for number in 0..50 {
        inbox.note_deed(deed(&number.to_string())).await.unwrap();
    }
    let deeds = inbox.all_deeds().await.unwrap();
    assert!(deeds.len() <= DEEDS_MAX, "{}", deeds.len());
    assert_eq!(deeds.iter().filter(|past| past.deed.what != "old").count(), 50, "the oldest go");
}
