//! What all senders together, and each of them alone, have in hand on the webhook paths: requests, and bytes of bodies.
//!
//! Guarantees: small bodies, which nearly all events are, have a budget of their own, which no large body takes, however it
//! is sent and whatever its head says; one sender has no more than its share of anything.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Problem;
use super::peer::{Peer, PeerKey};
use crate::config::{Share, WebhookBounds};
use crate::domain::limits::{SMALL_BODY_BYTES_MAX, WEBHOOK_BODY_BYTES_MAX};

#[derive(Debug)]
pub(super) struct Shares {
    all: Use,
    /// Bounds on one sender.
    each: Use,
    books: Mutex<Books>,
}

/// Requests and bytes: those in hand, or the most that are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    requests: usize,
    small_bytes: usize,
    large_bytes: usize,
}

#[derive(Debug, Default)]
struct Books {
    all: Use,
    /// Senders with something in hand, so never more than there are requests.
    peers: HashMap<PeerKey, Use>,
}

/// A request in hand, with its body's bytes. Dropping it gives everything back.
#[derive(Debug)]
pub(super) struct Place<'a> {
    shares: &'a Shares,
    peer: Option<PeerKey>,
    held: Use,
}

impl Use {
    fn within(self, bounds: Self) -> bool {
        self.requests <= bounds.requests
            && self.small_bytes <= bounds.small_bytes
            && self.large_bytes <= bounds.large_bytes
    }

    /// The use with `new` in place of `old`.
    fn exchanged(self, old: Self, new: Self) -> Self {
        let exchange = |all: usize, old: usize, new: usize| (all + new).saturating_sub(old);
        Self {
            requests: exchange(self.requests, old.requests, new.requests),
            small_bytes: exchange(self.small_bytes, old.small_bytes, new.small_bytes),
            large_bytes: exchange(self.large_bytes, old.large_bytes, new.large_bytes),
        }
    }
}

impl Shares {
    pub(super) fn new(bounds: &WebhookBounds, share: Share) -> Self {
        let all = Use {
            requests: bounds.requests_max,
            small_bytes: bounds.small_bodies_in_hand_max,
            large_bytes: bounds.body_bytes_in_hand_max,
        };
        let each = Use {
            requests: share.of(all.requests),
            // One body of each kind always fits.
            small_bytes: share.of(all.small_bytes).max(SMALL_BODY_BYTES_MAX),
            large_bytes: share.of(all.large_bytes).max(WEBHOOK_BODY_BYTES_MAX),
        };
        Self { all, each, books: Mutex::default() }
    }

    /// Admits a request.
    pub(super) fn enter(&self, peer: Peer) -> Result<Place<'_>, Problem> {
        let mut place = Place { shares: self, peer: peer.key(), held: Use::default() };
        place.exchange(Use { requests: 1, ..Use::default() })?;
        Ok(place)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, peer: Option<PeerKey>, old: Use, new: Use) -> Result<(), Problem> {
        let mut books = self.books();
        let all = books.all.exchanged(old, new);
        // A body that shrinks is never refused.
        let shrinks = new.within(old);
        if !shrinks && !all.within(self.all) {
            return Err(Problem::Overloaded);
        }
        if let Some(peer) = peer {
            let entry = books.peers.entry(peer);
            let known = match &entry {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(_) => Use::default(),
            };
            let its = known.exchanged(old, new);
            if !shrinks && !its.within(self.each) {
                return Err(Problem::PeerOverShare);
            }
            match entry {
                Entry::Occupied(known) if its == Use::default() => drop(known.remove()),
                Entry::Vacant(_) if its == Use::default() => {}
                entry => drop(entry.insert_entry(its)),
            }
        }
        books.all = all;
        Ok(())
    }
}

impl Place<'_> {
    /// Makes room for a body that has so many bytes so far. A body that outgrows the small ones counts as a large one, with
    /// all its bytes.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        let held = if bytes <= SMALL_BODY_BYTES_MAX {
            Use { small_bytes: bytes, large_bytes: 0, ..self.held }
        } else {
            Use { small_bytes: 0, large_bytes: bytes, ..self.held }
        };
        self.exchange(held)
    }

    fn exchange(&mut self, held: Use) -> Result<(), Problem> {
        self.shares.exchange(self.peer, self.held, held)?;
        self.held = held;
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // A body that shrinks is never refused.
        let _ = self.exchange(Use::default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::network::Networks;

    const KIB: usize = 1024;

    fn shares(requests_max: usize, small: usize, large: usize) -> Shares {
        let second = Duration::from_secs(1);
        let bounds = WebhookBounds {
            requests_max,
            body_bytes_in_hand_max: large,
            small_bodies_in_hand_max: small,
            body_timeout: second,
            body_stall_timeout: second,
            append_timeout: second,
        };
        Shares::new(&bounds, Share::percent(50))
    }

    fn peer(last: u8) -> Peer {
        Peer::connected([192, 0, 2, last].into(), &Networks::default())
    }

    fn proxy() -> Peer {
        Peer::connected([127, 0, 0, 1].into(), &"loopback".parse().unwrap())
    }

    #[test]
    fn large_bodies_leave_the_room_of_small_ones_alone_however_they_grow() {
        let shares = shares(100, 64 * KIB, 4096 * KIB);
        let mut large: Vec<_> = (0..4).map(|_| shares.enter(proxy()).unwrap()).collect();
        for one in &mut large {
            // They begin small, as chunked bodies do.
            one.hold(KIB).unwrap();
            one.hold(1024 * KIB).unwrap();
        }
        let mut next = shares.enter(proxy()).unwrap();
        assert!(matches!(next.hold(65 * KIB), Err(Problem::Overloaded)), "the large ones have their budget");
        next.hold(64 * KIB).unwrap();
        let mut another = shares.enter(proxy()).unwrap();
        assert!(matches!(another.hold(1), Err(Problem::Overloaded)), "so do the small ones");
        drop(large);
        next.hold(65 * KIB).unwrap();
        another.hold(64 * KIB).unwrap();
        drop((next, another));
        assert_eq!(shares.books().all, Use::default());
    }

    #[test]
    fn one_sender_has_no_more_than_its_share_and_others_the_rest() {
        let shares = shares(4, 1024 * KIB, 4096 * KIB);
        let mut first: Vec<_> = (0..2).map(|_| shares.enter(peer(1)).unwrap()).collect();
        assert!(matches!(shares.enter(peer(1)), Err(Problem::PeerOverShare)));
        first[0].hold(1024 * KIB).unwrap();
        first[1].hold(1024 * KIB).unwrap();
        let second = shares.enter(peer(2)).unwrap();
        drop(first.pop());
        let third = shares.enter(peer(1)).unwrap();
        let fourth = shares.enter(peer(2)).unwrap();
        assert!(matches!(shares.enter(peer(3)), Err(Problem::Overloaded)), "all of them have all");
        drop((first, second));
        drop((third, fourth));
        assert!(shares.books().peers.is_empty(), "who has nothing in hand is forgotten");
    }

    #[test]
    fn a_proxy_that_names_nobody_has_no_share_of_its_own() {
        let shares = shares(4, 1024 * KIB, 4096 * KIB);
        let places: Vec<_> = (0..4).map(|_| shares.enter(proxy()).unwrap()).collect();
        assert!(matches!(shares.enter(proxy()), Err(Problem::Overloaded)));
        drop(places);
    }

    #[test]
    fn a_share_has_room_for_one_body_of_the_largest_size() {
        let shares = shares(1, KIB, KIB);
        assert_eq!(shares.each.large_bytes, WEBHOOK_BODY_BYTES_MAX);
        assert_eq!((shares.each.small_bytes, shares.each.requests), (SMALL_BODY_BYTES_MAX, 1));
    }
}
