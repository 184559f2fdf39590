//! The operator's switch between the two ways that entries can go.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Through the colony while it works.
    Auto,
    /// The direct route, whatever works.
    Direct,
}

impl Wish {
    /// The wish that `USE_COLONY_OS` expresses.
    pub const fn from_use_colony(enabled: bool) -> Self {
        if enabled { Self::Auto } else { Self::Direct }
    }
}

/// The operator's switch at run time. Clones share it. It takes effect with the next batch; jobs that a colony already has
/// come to their end there.
#[derive(Clone, Debug)]
pub struct RouteSwitch(Arc<watch::Sender<Wish>>);

impl RouteSwitch {
    /// A switch in this position.
    pub fn new(wish: Wish) -> Self {
        Self(Arc::new(watch::Sender::new(wish)))
    }

    pub fn get(&self) -> Wish {
        *self.0.borrow()
    }

    /// Throws it. Returns whether it was in another position.
    pub fn set(&self, wish: Wish) -> bool {
        self.0.send_if_modified(|now| std::mem::replace(now, wish) != wish)
    }

    /// Reports every change from now on.
    pub fn changes(&self) -> watch::Receiver<Wish> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_tells_whoever_watches_once_per_change() {
        let switch = RouteSwitch::new(Wish::from_use_colony(true));
        let mut changes = switch.changes();
        assert!(!switch.set(Wish::Auto));
        assert!(!changes.has_changed().unwrap());
        assert!(switch.clone().set(Wish::from_use_colony(false)));
        assert_eq!((*changes.borrow_and_update(), switch.get()), (Wish::Direct, Wish::Direct));
    }
}
