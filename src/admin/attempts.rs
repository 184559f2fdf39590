//! Guesses at a token are slow: those of one address, or of one network of IPv6, together, some a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much one wrong token costs its address.
const COST: Duration = Duration::from_millis(100);

/// How much an address may owe before the answers to its wrong tokens are delayed. A person mistypes; a script begins with
/// old tokens.
const FREE: Duration = Duration::from_secs(3);

/// How much it may owe before its tokens are no longer checked.
const DEBT_MAX: Duration = Duration::from_secs(8);

/// How many addresses are told apart at a time. Further ones share one account.
const ADDRESSES_MAX: usize = 1024;

/// Until when each address has paid for its wrong tokens.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    paid_at: Mutex<HashMap<Option<IpAddr>, Instant>>,
}

impl Attempts {
    /// Whether a token from this address is checked now.
    pub(super) fn admit(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let debt =
            |of: Option<IpAddr>| paid_at.get(&of).map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let key = if paid_at.contains_key(&address) || paid_at.len() < ADDRESSES_MAX { address } else { None };
        debt(key) < DEBT_MAX
    }

    /// Notes a wrong token from this address. Returns how long its answer should wait.
    pub(super) fn failed(&self, address: Option<IpAddr>, now: Instant) -> Duration {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_at.len() >= ADDRESSES_MAX {
            paid_at.retain(|_, paid| *paid > now);
        }
        let key = if paid_at.contains_key(&address) || paid_at.len() < ADDRESSES_MAX { address } else { None };
        let paid = paid_at.entry(key).or_insert(now);
        *paid = (*paid).max(now) + COST;
        paid.saturating_duration_since(now).saturating_sub(FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn the_guesses_of_an_address_are_some_a_second_and_others_are_not_slowed() {
        let (attempts, began) = (Attempts::default(), Clock::system().instant());
        let (guesser, other) = (Some([203, 0, 113, 7].into()), Some([203, 0, 113, 8].into()));
        let looked_at = (0..15_000).filter(|_| {
            attempts.admit(guesser, began) && {
                attempts.failed(guesser, began);
                true
            }
        });
        assert_eq!(looked_at.count(), 80, "what eight seconds pay for");
        assert!(!attempts.admit(guesser, began) && attempts.admit(other, began));
        assert_eq!(attempts.failed(other, began), Duration::ZERO);
        let later = began + Duration::from_secs(1);
        let looked_at = (0..1000).filter(|_| {
            attempts.admit(guesser, later) && {
                attempts.failed(guesser, later);
                true
            }
        });
        assert_eq!(looked_at.count(), 10);
        assert_eq!(attempts.failed(guesser, later), Duration::from_millis(5100), "they wait for their answers");
    }

    #[test]
    fn more_addresses_than_are_told_apart_share_an_account() {
        let (attempts, began) = (Attempts::default(), Clock::system().instant());
        for number in 0..2000_u32 {
            attempts.failed(Some(IpAddr::from(number.to_be_bytes())), began);
        }
        assert!(attempts.paid_at.lock().unwrap().len() <= ADDRESSES_MAX + 1);
        attempts.failed(Some([203, 0, 113, 7].into()), began + Duration::from_mins(10));
        assert_eq!(attempts.paid_at.lock().unwrap().len(), 1, "who owes nothing is forgotten");
    }
}
