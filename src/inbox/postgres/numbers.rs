//! Numbers of entries, made by the gateways themselves.
//!
//! A number is the second in which it was made, and a place within it. A gateway begins each second at a random place and counts
//! up, so that its own entries are in order and two gateways hardly ever meet; where they do, the database refuses and new
//! numbers are drawn. All are below 2^53, so that programs that read JSON numbers as doubles get them right.

use std::sync::{Mutex, PoisonError};

use crate::domain::clock::Timestamp;

/// The first second of 2020, from which seconds are counted.
const BEGIN: i64 = 1_577_836_800;

/// Bits of the place within a second.
const PLACE_BITS: u32 = 22;

/// Places at which a second may begin; the rest is room to count up.
const BEGINNINGS: i64 = 1 << (PLACE_BITS - 1);

/// Gives out numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<i64>);

impl Numbers {
    /// So many numbers, in order, and after all that were given out before.
    pub(super) fn next(&self, count: usize, now: Timestamp) -> Vec<i64> {
        let second = (now.millis().div_euclid(1000) - BEGIN).max(0);
        let fresh = (second << PLACE_BITS) + fastrand::i64(0..BEGINNINGS);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new_second = *last == 0 || (*last >> PLACE_BITS) < second;
        let mut next = if is_new_second { fresh } else { *last + 1 };
        let numbers = (0..count).map(|_| {
            let number = next;
            next += 1;
            number
        });
        let numbers: Vec<i64> = numbers.collect();
        if let Some(number) = numbers.last() {
            *last = *number;
        }
        numbers
    }

    /// Goes on elsewhere in the second: another gateway counts here.
    pub(super) fn move_on(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last += fastrand::i64(1..BEGINNINGS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does_and_stay_below_2_to_the_53() {
        let numbers = Numbers::default();
        let mut last = 0;
        for second in [1_800_000_000, 1_800_000_000, 1_800_000_001, 1_799_999_000, 1_800_000_002, 3_700_000_000] {
            for number in numbers.next(3, Timestamp::from_seconds(second)) {
                assert!(number > last && number < 1 << 53, "{number}");
                last = number;
            }
            numbers.move_on();
        }
        assert!(numbers.next(0, Timestamp::from_seconds(1_800_000_000)).is_empty());
    }
}
