//! Which connections are open, whose they are, and which of them makes room for the next.
//!
//! Guarantees: there are never more than the bound, and one sender has no more than its share. The newest is not turned away
//! for the sake of one that says nothing: the oldest idle one is closed, first among those that never brought a delivery.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::Id;
use tokio_util::sync::CancellationToken;

use super::peer::{Peer, PeerKey};

/// How many silent connections one look at all of them finds, the oldest first, to make room. In a flood, not every new
/// connection must cost such a look.
const FOUND_MAX: usize = 64;

/// Marks a connection as busy, in place of the moment since which it is idle.
const BUSY: u64 = 0;

/// What a connection reports of itself. It is idle if it has no request in hand, not even a head.
#[derive(Debug)]
pub(super) struct State {
    idle_since: AtomicU64,
    has_delivered: AtomicBool,
    clock: Arc<AtomicU64>,
    displaced: CancellationToken,
}

impl State {
    pub(super) fn busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// The request was answered.
    pub(super) fn idle(&self, delivered: bool) {
        if delivered {
            self.has_delivered.store(true, Ordering::Relaxed);
        }
        self.idle_since.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Resolves when the connection must make room.
    pub(super) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

/// Open connections by their tasks.
#[derive(Debug)]
pub(super) struct Connections {
    open: HashMap<Id, Open>,
    /// How many connections each sender with a share has open.
    peers: HashMap<PeerKey, usize>,
    /// The result of the last look: at all connections, or at those of a sender at its share.
    found: HashMap<Option<PeerKey>, VecDeque<(Id, Idle)>>,
    max: usize,
    share: usize,
    /// Counts events of becoming idle, so that moments can be compared. Begins after [`BUSY`].
    clock: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Open {
    peer: Option<PeerKey>,
    state: Arc<State>,
}

/// The order in which idle connections make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    has_delivered: bool,
    since: u64,
}

impl Open {
    /// `None` while it is busy.
    fn idle(&self) -> Option<Idle> {
        let since = self.state.idle_since.load(Ordering::Relaxed);
        let has_delivered = self.state.has_delivered.load(Ordering::Relaxed);
        (since != BUSY).then_some(Idle { has_delivered, since })
    }
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admission {
    Admitted(Arc<State>),
    /// An idle one was closed for it.
    InPlaceOfAnother(Arc<State>),
    Refused,
}

impl Connections {
    /// Allows at most `max` connections, and at most `share` of them for one sender.
    pub(super) fn new(max: usize, share: usize) -> Self {
        let clock = Arc::new(AtomicU64::new(BUSY + 1));
        Self { open: HashMap::new(), peers: HashMap::new(), found: HashMap::new(), max, share, clock }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Makes room for a connection, which must then be [entered](Self::enter).
    pub(super) fn admit(&mut self, peer: Peer) -> Admission {
        let key = peer.key();
        let its = key.and_then(|key| self.peers.get(&key)).copied().unwrap_or(0);
        let displaced = if its >= self.share {
            self.displace(key)
        } else if self.open.len() >= self.max {
            self.displace(None)
        } else {
            return Admission::Admitted(self.state());
        };
        if displaced { Admission::InPlaceOfAnother(self.state()) } else { Admission::Refused }
    }

    /// Closes the oldest idle connection of all, because nothing else can be opened. Returns false if all are busy.
    pub(super) fn make_room(&mut self) -> bool {
        self.displace(None)
    }

    fn state(&self) -> Arc<State> {
        Arc::new(State {
            idle_since: AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed)),
            has_delivered: AtomicBool::new(false),
            clock: Arc::clone(&self.clock),
            displaced: CancellationToken::new(),
        })
    }

    pub(super) fn enter(&mut self, task: Id, peer: Peer, state: Arc<State>) {
        let peer = peer.key();
        if let Some(peer) = peer {
            *self.peers.entry(peer).or_default() += 1;
        }
        self.open.insert(task, Open { peer, state });
    }

    /// A connection ended. A displaced one is already no longer counted.
    pub(super) fn ended(&mut self, task: Id) {
        let Some(peer) = self.open.remove(&task).and_then(|open| open.peer) else { return };
        if let Some(number) = self.peers.get_mut(&peer) {
            *number -= 1;
            if *number == 0 {
                self.peers.remove(&peer);
                self.found.remove(&Some(peer));
            }
        }
    }

    /// Closes the oldest idle connection, of a sender or of all. Returns false if all are busy.
    fn displace(&mut self, of: Option<PeerKey>) -> bool {
        let Some(oldest) = self.next_found(of).or_else(|| self.look(of)) else { return false };
        if let Some(open) = self.open.get(&oldest) {
            open.state.displaced.cancel();
        }
        self.ended(oldest);
        true
    }

    /// The next connection of the last look that has been silent since.
    fn next_found(&mut self, of: Option<PeerKey>) -> Option<Id> {
        let (open, found) = (&self.open, self.found.get_mut(&of)?);
        std::iter::from_fn(|| found.pop_front())
            .find(|(task, idle)| open.get(task).and_then(Open::idle) == Some(*idle))
            .map(|(task, _)| task)
    }

    /// Looks at all of them for the oldest, and remembers other silent ones. Connections that delivered are not remembered:
    /// they are the last resort each time.
    fn look(&mut self, of: Option<PeerKey>) -> Option<Id> {
        let is_meant = |open: &Open| of.is_none() || open.peer == of;
        let idle = self.open.iter().filter(|(_, open)| is_meant(open));
        let mut idle: Vec<(Id, Idle)> = idle.filter_map(|(task, open)| Some((*task, open.idle()?))).collect();
        idle.sort_unstable_by_key(|(_, idle)| *idle);
        let (oldest, _) = *idle.first()?;
        let silent = idle.into_iter().skip(1).take(FOUND_MAX).take_while(|(_, idle)| !idle.has_delivered);
        self.found.insert(of, silent.collect());
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::domain::network::Networks;

    fn peer(last: u8) -> Peer {
        Peer::connected([192, 0, 2, last].into(), &Networks::default())
    }

    /// Connections and their tasks, which do nothing but identify them.
    struct World {
        connections: Connections,
        tasks: JoinSet<()>,
    }

    impl World {
        fn connect(&mut self, peer: Peer) -> Option<Arc<State>> {
            let state = match self.connections.admit(peer) {
                Admission::Admitted(state) | Admission::InPlaceOfAnother(state) => state,
                Admission::Refused => return None,
            };
            let task = self.tasks.spawn(std::future::pending()).id();
            self.connections.enter(task, peer, Arc::clone(&state));
            Some(state)
        }
    }

    fn world(max: usize, share: usize) -> World {
        World { connections: Connections::new(max, share), tasks: JoinSet::new() }
    }

    fn is_closed(state: &State) -> bool {
        state.displaced.is_cancelled()
    }

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room_and_one_that_delivered_does_so_last() {
        let mut world = world(3, 3);
        let [stripe, silent, working] = [1, 2, 3].map(|number| world.connect(peer(number)).unwrap());
        stripe.busy();
        stripe.idle(true);
        working.busy();
        let next = world.connect(peer(4)).unwrap();
        assert_eq!([&stripe, &silent, &working].map(|state| is_closed(state)), [false, true, false]);
        let last = world.connect(peer(5)).unwrap();
        assert_eq!([&stripe, &next, &last].map(|state| is_closed(state)), [false, true, false]);
        last.busy();
        assert!(world.connect(peer(6)).is_some() && is_closed(&stripe), "only then the one that delivered");
        assert_eq!(world.connections.len(), 3);
    }

    #[tokio::test]
    async fn whoever_spoke_since_a_look_makes_no_room() {
        let mut world = world(4, 4);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(|number| world.connect(peer(number)).unwrap());
        let fifth = world.connect(peer(5)).unwrap();
        assert!(is_closed(&first), "the look finds the second and the third too");
        second.busy();
        third.busy();
        third.idle(true);
        let sixth = world.connect(peer(6)).unwrap();
        let closed = [&second, &third, &fourth, &fifth, &sixth].map(|state| is_closed(state));
        assert_eq!(closed, [false, false, true, false, false]);
        // The newest connections are silent, and one that delivered comes after them.
        for _ in 0..10 {
            world.connect(peer(7)).unwrap();
        }
        assert!(!is_closed(&third) && !is_closed(&second));
        assert_eq!(world.connections.len(), 4);
    }

    #[tokio::test]
    async fn a_connection_is_refused_only_when_all_are_busy() {
        let mut world = world(2, 2);
        let both = [1, 2].map(|number| world.connect(peer(number)).unwrap());
        for state in &both {
            state.busy();
        }
        assert!(world.connect(peer(3)).is_none());
        both[1].idle(false);
        assert!(world.connect(peer(3)).is_some());
    }

    #[tokio::test]
    async fn a_sender_at_its_share_makes_room_for_itself_and_costs_no_other() {
        let mut world = world(4, 2);
        let other = world.connect(peer(1)).unwrap();
        let flood: Vec<_> = (0..50).map(|_| world.connect(peer(2)).unwrap()).collect();
        assert!(!is_closed(&other));
        assert_eq!(flood.iter().filter(|state| !is_closed(state)).count(), 2);
        for state in &flood {
            state.busy();
        }
        assert!(world.connect(peer(2)).is_none(), "all of its share is busy");
        assert!(world.connect(peer(3)).is_some(), "and there is room for others");
    }

    #[tokio::test]
    async fn what_ended_is_forgotten() {
        let mut world = world(2, 1);
        let state = world.connections.admit(peer(1));
        let Admission::Admitted(state) = state else { panic!("{state:?}") };
        let task = world.tasks.spawn(async {}).id();
        world.connections.enter(task, peer(1), state);
        world.connections.ended(task);
        world.connections.ended(task);
        assert_eq!((world.connections.len(), world.connections.peers.len()), (0, 0));
    }
}
