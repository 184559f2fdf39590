//! Long-polls that wait for a process or for the end of a pause.
//!
//! Guarantees: no call polls the state. One process wakes one waiting call that may have it, and a call that is dropped after
//! it was woken passes the wake-up on, which [`Notify`] promises. How many may wait is bounded.
//!
//! Why no process is missed: a call joins before it looks at the state, so a process that comes after the look finds
//! the call here, and one that came before is found by the look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::jobs::Offer;
use super::refusal::Refusal;

/// What a call waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    colony: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    /// A process for any executor of a type.
    Anybody { kind: String },
    /// A process for one executor by name.
    Named { kind: String, name: String },
    /// The end of a pause.
    Resumption,
}

/// All waiting calls.
#[derive(Debug)]
pub(super) struct Waiters {
    rooms: Mutex<Rooms>,
    bound: usize,
}

#[derive(Debug, Default)]
struct Rooms {
    /// Wake-ups, each with the number of calls that wait for it.
    by_key: HashMap<Key, (Arc<Notify>, usize)>,
    waiting: usize,
}

/// One waiting call. Dropping it leaves the waiters.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    keys: [Key; 3],
    /// Wakes for a process that any executor of the type may take.
    pub(super) anybody: Arc<Notify>,
    /// Wakes for a process that names the executor.
    pub(super) named: Arc<Notify>,
    /// Wakes when the colony resumes assignments.
    pub(super) resumed: Arc<Notify>,
}

impl Waiters {
    pub(super) fn new(bound: usize) -> Self {
        Self { rooms: Mutex::default(), bound }
    }

    /// Joins the calls that wait for work in a colony.
    pub(super) fn join(&self, colony: &str, kind: &str, name: &str) -> Result<Waiter<'_>, Refusal> {
        let key = |wanted| Key { colony: colony.to_owned(), wanted };
        let keys = [
            key(Wanted::Anybody { kind: kind.to_owned() }),
            key(Wanted::Named { kind: kind.to_owned(), name: name.to_owned() }),
            key(Wanted::Resumption),
        ];
        let mut rooms = self.rooms();
        if rooms.waiting >= self.bound {
            return Err(Refusal::bound("waiting executors", self.bound));
        }
        rooms.waiting += 1;
        let [anybody, named, resumed] = keys.each_ref().map(|key| {
            let (notify, waiting) = rooms.by_key.entry(key.clone()).or_default();
            *waiting += 1;
            Arc::clone(notify)
        });
        drop(rooms);
        Ok(Waiter { waiters: self, keys, anybody, named, resumed })
    }

    /// Wakes a call that may take the process. If the process names executors, wakes one call of each.
    pub(super) fn offer(&self, offer: &Offer) {
        let kind = || offer.kind.clone();
        let wanted = |name: &String| Wanted::Named { kind: kind(), name: name.clone() };
        let rooms = self.rooms();
        let wake = |wanted| {
            if let Some((notify, _)) = rooms.by_key.get(&Key { colony: offer.colony.clone(), wanted }) {
                notify.notify_one();
            }
        };
        if offer.names.is_empty() {
            wake(Wanted::Anybody { kind: kind() });
        }
        offer.names.iter().map(wanted).for_each(wake);
    }

    /// Wakes every call of a colony: a process that came during the pause may have spent its wake-up.
    pub(super) fn resume(&self, colony: &str) {
        for (_, (notify, _)) in self.rooms().by_key.iter().filter(|(key, _)| key.colony == colony) {
            notify.notify_waiters();
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut rooms = self.waiters.rooms();
        rooms.waiting -= 1;
        for key in &self.keys {
            if let Some((_, waiting)) = rooms.by_key.get_mut(key) {
                *waiting -= 1;
                if *waiting == 0 {
                    rooms.by_key.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn offer(names: &[&str]) -> Offer {
        Offer {
            colony: "c".to_owned(),
            kind: "t".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Whether a future is ready now.
    async fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn one_process_wakes_one_call_and_a_dropped_call_passes_the_wake_up_on() {
        let waiters = Waiters::new(10);
        let first = waiters.join("c", "t", "one").unwrap();
        let second = waiters.join("c", "t", "two").unwrap();
        let mut one = Box::pin(first.anybody.notified());
        let mut two = Box::pin(second.anybody.notified());
        assert!(!is_ready(one.as_mut()).await && !is_ready(two.as_mut()).await);
        waiters.offer(&offer(&[]));
        drop(one);
        assert!(is_ready(two.as_mut()).await);
        assert!(!is_ready(second.anybody.notified()).await);
    }

    #[tokio::test]
    async fn a_process_that_names_an_executor_wakes_nobody_else() {
        let waiters = Waiters::new(10);
        let one = waiters.join("c", "t", "one").unwrap();
        let two = waiters.join("c", "t", "two").unwrap();
        waiters.offer(&offer(&["two", "three"]));
        assert!(is_ready(two.named.notified()).await);
        assert!(!is_ready(one.named.notified()).await && !is_ready(one.anybody.notified()).await);
    }

    #[test]
    fn calls_over_the_bound_are_refused_until_one_leaves() {
        let waiters = Waiters::new(2);
        let first = waiters.join("c", "t", "one").unwrap();
        let _second = waiters.join("c", "t", "two").unwrap();
        assert_eq!(waiters.join("c", "t", "three").unwrap_err(), Refusal::bound("waiting executors", 2));
        drop(first);
        assert!(waiters.join("c", "t", "three").is_ok());
    }

    #[test]
    fn nothing_is_kept_of_calls_that_left() {
        let waiters = Waiters::new(2);
        drop(waiters.join("c", "t", "one").unwrap());
        assert!(waiters.rooms().by_key.is_empty());
        assert_eq!(waiters.rooms().waiting, 0);
    }
}
