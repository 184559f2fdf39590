//! The search for the events in a batch that cannot be applied: it cuts a refused batch in halves until the culprit is alone.

use std::ops::Range;

/// The groups of a batch that have yet to be tried.
#[derive(Clone, Debug)]
pub struct Groups(Vec<Range<usize>>);

impl Groups {
    /// All of a batch as one group.
    pub fn of(events: usize) -> Self {
        Self(std::iter::once(0..events).collect())
    }

    /// Puts the halves of a group back; the first is tried next.
    pub fn halve(&mut self, group: &Range<usize>) {
        self.0.extend(halves(group));
    }
}

impl Iterator for Groups {
    type Item = Range<usize>;

    /// The group to try next.
    fn next(&mut self) -> Option<Range<usize>> {
        self.0.pop()
    }
}

/// In reverse order, because the groups are a stack and the first half should be taken next.
fn halves(group: &Range<usize>) -> [Range<usize>; 2] {
    let middle = group.start + group.len() / 2;
    [middle..group.end, group.start..middle]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_come_in_order_and_miss_nothing() {
        assert_eq!(halves(&(4..9)), [6..9, 4..6]);
        assert_eq!(halves(&(0..2)), [1..2, 0..1]);
    }
}
