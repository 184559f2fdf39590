//! Lines that anybody can cause are few: a flood of refused requests must not fill the disk, nor hide what else is told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most lines of one kind in a [`WINDOW`]; the metrics count those left out.
const LINES_MAX: u32 = 30;

const WINDOW: Duration = Duration::from_mins(1);

/// Counts lines by kind. There are as many kinds as codes of problems.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    windows: Mutex<HashMap<&'static str, Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl Quiet {
    /// Whether a line may be written, and then how many of its kind were left out since the last.
    pub(super) fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(kind).or_insert(Window { began: now, lines: 0, left_out: 0 });
        if now.duration_since(window.began) >= WINDOW {
            (window.began, window.lines) = (now, 0);
        }
        if window.lines >= LINES_MAX {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    #[test]
    fn a_flood_of_one_kind_leaves_few_lines_and_none_of_others_out() {
        let (quiet, began) = (Quiet::default(), Clock::system().instant());
        let written = (0..1000).filter(|_| quiet.admit("invalid_signature", began).is_some()).count();
        assert_eq!(written, 30);
        assert_eq!(quiet.admit("body_too_large", began), Some(0));
        assert_eq!(quiet.admit("invalid_signature", began + WINDOW), Some(970), "the next line tells");
        assert_eq!(quiet.admit("invalid_signature", began + WINDOW), Some(0));
    }
}
