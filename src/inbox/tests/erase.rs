//! An entry whose body an erasure removed says so, and when.

use super::*;

on_every_store! {
    an_entry_whose_person_was_erased_says_when_as_long_as_it_is_here,
    a_body_that_retention_removed_was_not_erased,
}

impl Fixture {
    async fn settled(&self, id: &str) -> EntryId {
        let entry = self.append(id).await.entry();
        self.settle(self.lease(1).await).await;
        entry
    }

    /// When the person of an entry was erased, and what people ordered about it.
    async fn erased(&self, entry: EntryId) -> (Option<Timestamp>, Vec<String>) {
        let story = self.inbox().story(entry, false).await.unwrap().unwrap();
        (story.erased, story.orders.into_iter().map(|order| format!("{} ({})", order.action, order.was)).collect())
    }
}

async fn an_entry_whose_person_was_erased_says_when_as_long_as_it_is_here(mut fixture: Fixture) {
    let (of_person, of_another) = (fixture.settled("evt_ann").await, fixture.settled("evt_bob").await);
    fixture.clock.advance(DAY);
    let at = fixture.clock.now();
    let leads = |body: &[u8]| String::from_utf8_lossy(body).contains("evt_ann");
    assert_eq!(fixture.inbox().erase_step(leads, 0, true).await.unwrap().erased, 1);
    assert_eq!(fixture.erased(of_person).await, (None, Vec::new()), "a look leaves no trace");
    assert_eq!(fixture.inbox().erase_step(leads, 0, false).await.unwrap().erased, 1);
    fixture.clock.advance(DAY);
    assert_eq!(fixture.inbox().erase_step(leads, 0, false).await.unwrap().erased, 0);
    fixture.reopen();
    assert_eq!(fixture.erased(of_person).await, (Some(at), vec!["erase (was settled, applied)".to_owned()]));
    assert_eq!(fixture.erased(of_another).await, (None, Vec::new()));
    // The note goes with its entry.
    fixture.clock.advance(400 * DAY);
    while fixture.inbox().sweep(Retention { bodies: DAY, held_bodies: None, entries: DAY }).await.unwrap().more {}
    assert_eq!(fixture.inbox().story(of_person, false).await.unwrap(), None);
}

async fn a_body_that_retention_removed_was_not_erased(fixture: Fixture) {
    let entry = fixture.settled("evt_1").await;
    fixture.clock.advance(2 * DAY);
    fixture.inbox().sweep(Retention { bodies: DAY, held_bodies: None, entries: 9 * DAY }).await.unwrap();
    assert_eq!(fixture.inbox().erase_step(|_| true, 0, false).await.unwrap().erased, 0);
    assert_eq!(fixture.erased(entry).await, (None, Vec::new()));
}
