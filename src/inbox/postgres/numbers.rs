//! Numbers of entries, made by the gateways themselves.
//!
//! A number is the second of the database's clock in which it was made, and a place within it. A gateway begins each second at a
//! random place and counts up, so that its own entries are in order and two gateways hardly ever meet; where they do, the database
//! refuses and new numbers are drawn. All are below 2^53, so that programs that read JSON numbers as doubles get them right.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::domain::clock::Timestamp;

/// The first second of 2020, from which seconds are counted.
const BEGIN: i64 = 1_577_836_800;

/// Bits of the place within a second.
const PLACE_BITS: u32 = 22;

/// Places at which a second may begin. The other half is room to count up.
const BEGINNINGS: i64 = 1 << (PLACE_BITS - 1);

/// Places of a millisecond, for numbers derived from content.
const PLACES_OF_A_MILLI: u64 = 1 << 12;

const _: () = assert!(1000 * PLACES_OF_A_MILLI < 1 << PLACE_BITS);

/// Numbers derived from content: from the milliseconds of its time, and a hash or place that tells it from others of that
/// time. If a statement is sent again while the first one is still running, it meets the same numbers and stores nothing
/// twice. `probe` counts how often other rows already had these numbers.
pub(super) fn lasting(of: &[(i64, u64)], probe: i64) -> Vec<i64> {
    let mut given = HashSet::with_capacity(of.len());
    let number = |(at, hash): &(i64, u64)| {
        let second = (at.div_euclid(1000) - BEGIN).max(0);
        let milli = u64::try_from(at.rem_euclid(1000)).unwrap_or_default();
        let place = milli * PLACES_OF_A_MILLI + hash % PLACES_OF_A_MILLI;
        let mut number = (second << PLACE_BITS) + i64::try_from(place).unwrap_or_default() + probe;
        while !given.insert(number) {
            number += 1;
        }
        number
    };
    of.iter().map(number).collect()
}

/// How often other rows may already have the numbers of what is stored.
pub(super) const PROBES_MAX: i64 = 256;

/// A hash of texts that is the same in every process and release: FNV-1a, with its high bits mixed into the low ones.
pub(super) fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0xff]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 32)
}

/// Gives out numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<i64>);

impl Numbers {
    /// So many numbers, in order, and after all given out before.
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

    /// Goes on at another place of the second, because another gateway counts here.
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

    #[test]
    fn numbers_that_follow_from_what_they_are_for_are_the_same_again_grow_with_time_and_never_meet() {
        let of: Vec<(i64, u64)> =
            (0..500).map(|n| (1_800_000_000_000 + n / 250, hash([n.to_string().as_str()]))).collect();
        let numbers = lasting(&of, 0);
        assert_eq!(numbers, lasting(&of, 0));
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 500);
        assert!(numbers[..250].iter().max() < numbers[250..].iter().min());
        assert!(numbers.iter().all(|number| *number < 1 << 53));
        assert_eq!(lasting(&of[..1], 3), [numbers[0] + 3]);
        assert_ne!(hash(["a", "b"]), hash(["ab", ""]));
    }
}
