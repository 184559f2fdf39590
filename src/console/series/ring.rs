//! Points of one resolution, the oldest of which give way.

use std::collections::VecDeque;

use crate::domain::clock::Timestamp;

/// What a point has of each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Column {
    /// Deliveries a second that were stored.
    Taken,
    /// Duplicates a second.
    Again,
    /// Refused signatures a second.
    Refused,
    /// Requests a second with any other answer.
    Failed,
    /// Median seconds to the answer.
    AckUsual,
    /// The 99th percentile of that.
    AckSlow,
    /// 95th percentile of seconds from receipt to record.
    SettleSlow,
    /// Entries on their way.
    Backlog,
    /// Calls of the ledger a second.
    LedgerCalls,
    /// Those that failed.
    LedgerErrors,
}

pub(super) const COLUMNS: usize = 10;

/// The values of one time; not a number where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::console) struct Point(pub(super) [f32; COLUMNS]);

impl Point {
    pub(super) const fn unknown() -> Self {
        Self([f32::NAN; COLUMNS])
    }

    pub(super) fn set(&mut self, column: Column, value: f32) {
        self.0[column as usize] = value;
    }

    pub(in crate::console) fn get(&self, column: Column) -> Option<f32> {
        Some(self.0[column as usize]).filter(|value| value.is_finite())
    }

    /// Takes another of the same time in: means of rates, and the greatest of what is slow.
    fn merge(&mut self, other: Self, weight: f32) {
        for (at, (value, new)) in self.0.iter_mut().zip(other.0).enumerate() {
            let is_greatest = at == Column::AckSlow as usize || at == Column::SettleSlow as usize;
            *value = match (value.is_finite(), new.is_finite()) {
                (_, false) => *value,
                (false, true) => new,
                (true, true) if is_greatest => value.max(new),
                (true, true) => *value + (new - *value) / weight,
            };
        }
    }
}

#[derive(Debug)]
pub(in crate::console) struct Ring {
    step: i64,
    length: usize,
    /// Number of the time since 1970, and its values; growing numbers.
    pub(super) points: VecDeque<(i64, Point)>,
    /// Points merged into the last.
    merged: f32,
}

impl Ring {
    /// Of points of `step` seconds, at most `length`.
    pub(super) fn new(step: i64, length: usize) -> Self {
        Self { step, length, points: VecDeque::new(), merged: 0.0 }
    }

    pub(super) fn step(&self) -> i64 {
        self.step
    }

    pub(super) fn push(&mut self, now: Timestamp, point: Point) {
        let number = now.seconds() / self.step;
        match self.points.back_mut() {
            Some((last, values)) if *last == number => {
                self.merged += 1.0;
                values.merge(point, self.merged);
            }
            // A clock that was set back: what it said before is not true any more.
            Some((last, _)) if *last > number => {
                self.points.clear();
                self.restore(number, point);
            }
            _ => self.restore(number, point),
        }
    }

    /// Appends a point of a later time.
    pub(super) fn restore(&mut self, number: i64, point: Point) {
        self.merged = 1.0;
        self.points.push_back((number, point));
        while self.points.len() > self.length {
            self.points.pop_front();
        }
    }

    /// The last `length` times up to now.
    pub(super) fn points(&self, now: Timestamp, length: usize) -> Vec<Option<Point>> {
        let end = now.seconds() / self.step;
        let begin = end.saturating_sub(i64::try_from(length).unwrap_or(i64::MAX)).saturating_add(1);
        let mut points = vec![None; length];
        for (number, point) in &self.points {
            let slot = usize::try_from(number.saturating_sub(begin)).ok();
            if let Some(slot) = slot.and_then(|slot| points.get_mut(slot)) {
                *slot = Some(*point);
            }
        }
        points
    }
}
