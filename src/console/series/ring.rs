//! Points of one resolution, the oldest of which give way.

use std::collections::VecDeque;

use crate::domain::clock::Timestamp;

/// The values of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Column {
    /// Stored deliveries per second.
    Taken,
    /// Duplicates per second.
    Again,
    /// Refused signatures per second.
    Refused,
    /// Requests per second with any other answer.
    Failed,
    /// Median seconds to the answer.
    AckUsual,
    /// The 99th percentile of that.
    AckSlow,
    /// 95th percentile of seconds from receipt to record.
    SettleSlow,
    /// Unfinished entries.
    Backlog,
    /// Calls of the ledger per second.
    LedgerCalls,
    /// Failed ones among them.
    LedgerErrors,
}

pub(super) const COLUMNS: usize = 10;

/// The values at one time; NaN where nothing is known.
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

    /// Merges another point of the same time: means of rates, and maxima of durations.
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
    /// Numbers of times since 1970 with their values, in ascending order.
    pub(super) points: VecDeque<(i64, Point)>,
    /// Points merged into the last.
    merged: f32,
}

impl Ring {
    /// Points of `step` seconds, at most `length`.
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
            // The clock was set back, so its earlier readings are no longer true.
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
