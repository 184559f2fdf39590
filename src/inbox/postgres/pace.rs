//! How long what arrives waits for more to share its commit with.
//!
//! A commit and its round trip cost the same for one event as for several, so that at some hundreds of events a second a short wait
//! halves what the database has to do. As many arrivals are waited for as were lately on their way at once, and for [`LINGER`] at
//! most: whoever comes alone waits for nothing, nor does a backlog, nor do clients of whom each waits for the other's answer.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Longest wait for more arrivals, out of the ten milliseconds in which a webhook is answered at ordinary rates.
const LINGER: Duration = Duration::from_millis(3);

/// A group this large waits for no more: its share of a commit is already small.
const ENOUGH: usize = 16;

/// After this time without arrivals, the number at once is forgotten.
const QUIET: Duration = Duration::from_millis(50);

/// Parts of one arrival in which the memory counts, so that it fades over several groups.
const PARTS: usize = 8;

/// Remembers how many arrivals came at once.
#[derive(Debug)]
pub(super) struct Pace {
    linger: Duration,
    /// In [`PARTS`] of an arrival.
    peak: usize,
    last: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { linger: LINGER, peak: 0, last: None }
    }
}

impl Pace {
    /// Fills a group that has begun, while so many others are in progress.
    pub(super) async fn fill<T>(
        &mut self,
        group: &mut Vec<T>,
        arrivals: &mut mpsc::Receiver<T>,
        on_their_way: usize,
        group_max: usize,
    ) {
        let enough = self.enough(group.len() + on_their_way, Instant::now()).min(group_max);
        let until = Instant::now() + self.linger;
        while group.len() < enough {
            let room = group_max - group.len();
            match timeout_at(until, arrivals.recv_many(group, room)).await {
                Ok(more) if more > 0 => {}
                _ => break,
            }
        }
    }

    /// How many arrivals a group waits for.
    fn enough(&mut self, at_once: usize, now: Instant) -> usize {
        let is_quiet = self.last.replace(now).is_none_or(|last| now.duration_since(last) > QUIET);
        let at_once = at_once.min(ENOUGH) * PARTS;
        let peak = if is_quiet { 0 } else { self.peak };
        self.peak = at_once.max(peak - (peak.saturating_sub(at_once)).div_ceil(PARTS));
        self.peak.div_ceil(PARTS)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn as_many_are_waited_for_as_were_lately_on_their_way_at_once_and_no_more_than_a_share_needs() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.enough(1, start), 1, "one alone waits for nothing");
        assert_eq!(pace.enough(3, start), 3);
        assert_eq!(pace.enough(1, start), 3, "another may come");
        let waits = (0..40).map(|_| pace.enough(1, start)).collect::<Vec<_>>();
        assert!(waits.is_sorted_by(|before, after| before >= after) && waits.contains(&2), "{waits:?}");
        assert_eq!(waits.last(), Some(&1), "nothing came");
        assert_eq!(pace.enough(500, start), ENOUGH);
        assert_eq!(pace.enough(1, start + QUIET * 2), 1, "that was long ago");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_filled_up_to_what_it_waits_for_and_goes_at_the_end_of_the_wait_at_the_latest() {
        const LONG: Duration = Duration::from_mins(10);
        let (sender, mut arrivals) = mpsc::channel(64);
        let mut pace = Pace { linger: LONG, ..Pace::default() };
        let mut group = vec![0];
        assert!(is_ready(pace.fill(&mut group, &mut arrivals, 0, 64)), "alone");
        assert!(!is_ready(pace.fill(&mut group, &mut arrivals, 2, 64)), "two others are on their way");
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert!(is_ready(pace.fill(&mut group, &mut arrivals, 0, 64)));
        assert_eq!(group, [0, 1, 2]);
        let mut backlog: Vec<i32> = (0..64).collect();
        assert!(is_ready(pace.fill(&mut backlog, &mut arrivals, 64, 64)), "a backlog waits for nothing");
        pace.linger = Duration::from_millis(1);
        let mut group = vec![0];
        pace.fill(&mut group, &mut arrivals, 2, 64).await;
        assert_eq!(group, [0], "nothing came");
        drop(sender);
        pace.linger = LONG;
        pace.fill(&mut group, &mut arrivals, 2, 64).await;
        assert_eq!(group, [0], "nothing can come any more");
    }
}
