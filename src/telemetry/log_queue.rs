//! Log lines on their way to a file or a pipe: gathered in memory and written by a thread, many at once.
//!
//! Guarantees: a thread that logs never waits for the reader of the log; the memory is bounded; lines keep their order. When
//! the reader is too slow, lines of level info and below are lost first, and a line tells how many. Does not: keep lines that a
//! crash of the process finds in memory, which are those of the last [`GATHER`].

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Most bytes in memory when a line of level info or below is logged. Further lines are lost.
pub const PLAIN_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes in memory when a warning or an error is logged.
pub const URGENT_BYTES_MAX: usize = 2 * PLAIN_BYTES_MAX;

/// Target of the lines about what people ordered and looked at: `action`, `who`, `peer`, and the object. They count as
/// urgent.
pub const AUDIT: &str = "audit";

/// How long the thread collects lines before it writes them. Warnings and errors are written at once.
pub const GATHER: Duration = Duration::from_millis(10);

/// Longest wait for the last lines when the process ends.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The queue of log lines. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogQueue {
    shared: Arc<QueueOfLines>,
}

#[derive(Debug, Default)]
struct QueueOfLines {
    state: Mutex<QueuedLines>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct QueuedLines {
    lines: Vec<u8>,
    /// Lines lost since the last report of lost lines.
    lost: u64,
    /// Lines lost before that.
    lost_before: u64,
    /// Whether a caller does not want to wait for more lines.
    hurry: bool,
    writing: bool,
}

impl LogQueue {
    /// Starts the thread that writes to `sink`. It ends with the process.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self::default();
        let shared = Arc::clone(&queue.shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all_to(sink))?;
        Ok(queue)
    }

    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        let state = self.shared.lock();
        state.lost_before + state.lost
    }

    /// Waits until everything logged so far is written, but at most a second.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        state.hurry = true;
        self.shared.filled.notify_one();
        let unwritten = |state: &mut QueuedLines| state.writing || !state.lines.is_empty();
        drop(self.shared.emptied.wait_timeout_while(state, FLUSH_MAX, unwritten));
    }
}

impl QueueOfLines {
    fn lock(&self) -> MutexGuard<'_, QueuedLines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8], urgent: bool) {
        let mut state = self.lock();
        let bytes_max = if urgent { URGENT_BYTES_MAX } else { PLAIN_BYTES_MAX };
        if state.lines.len() + line.len() > bytes_max {
            state.lost += 1;
            return;
        }
        let idle = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        state.hurry |= urgent;
        if idle || urgent {
            self.filled.notify_one();
        }
    }

    /// Runs the thread. If the sink fails, it still gets the next lines, because there is nowhere to complain.
    fn write_all_to(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        loop {
            let lost = self.take(&mut lines);
            drop(sink.write_all(&lines).and_then(|()| sink.flush()));
            lines.clear();
            self.lock().writing = false;
            self.emptied.notify_all();
            if lost > 0 {
                tracing::warn!(lines = lost, "log lines were lost: the reader of standard error is too slow");
            }
        }
    }

    /// Waits for lines, then a little for more, and takes them all. Returns how many were lost.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let state = self.lock();
        let state = self.filled.wait_while(state, |state| state.lines.is_empty() && !state.hurry);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let gathered = self.filled.wait_timeout_while(state, GATHER, |state| !state.hurry);
        let mut state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.lines, lines);
        state.writing = true;
        state.hurry = false;
        state.lost_before += state.lost;
        std::mem::take(&mut state.lost)
    }
}

#[derive(Debug)]
pub struct LineWriter<'a> {
    shared: &'a QueueOfLines,
    urgent: bool,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.push(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { shared: &self.shared, urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        let urgent = *metadata.level() <= Level::WARN || metadata.target() == AUDIT;
        LineWriter { shared: &self.shared, urgent }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written, and blocks until it is taken.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn plain(queue: &LogQueue) -> LineWriter<'_> {
        LineWriter { shared: &queue.shared, urgent: false }
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let (sender, receiver) = mpsc::sync_channel(1000);
        let queue = LogQueue::start(Pipe(sender)).unwrap();
        let mut expected = Vec::new();
        for number in 0..500 {
            let line = format!("line {number}\n");
            plain(&queue).write_all(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
        }
        queue.flush();
        let written: Vec<u8> = receiver.try_iter().flatten().collect();
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stopped_and_warnings_find_room_after_plain_lines_are_lost() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let queue = LogQueue::start(Pipe(sender)).unwrap();
        let line = vec![b'x'; 1024];
        // From here on the thread holds a line that it cannot deliver.
        plain(&queue).write_all(&line).unwrap();
        while !queue.shared.lock().lines.is_empty() {
            std::thread::yield_now();
        }
        for _ in 0..4 * PLAIN_BYTES_MAX / line.len() {
            plain(&queue).write_all(&line).unwrap();
        }
        let (held, lost) = {
            let state = queue.shared.lock();
            (state.lines.len(), state.lost)
        };
        assert!(held <= PLAIN_BYTES_MAX, "{held}");
        assert!(lost > 0);
        assert_eq!(queue.lost(), lost);
        queue.make_writer().write_all(b"warning").unwrap();
        assert!(queue.shared.lock().lines.ends_with(b"warning"));
        for _ in 0..4 * URGENT_BYTES_MAX / line.len() {
            queue.make_writer().write_all(&line).unwrap();
        }
        assert!(queue.shared.lock().lines.len() <= URGENT_BYTES_MAX);
        let lost = queue.lost();
        drop(receiver);
        queue.flush();
        assert_eq!((queue.lost(), queue.shared.lock().lost), (lost, 0), "what was reported stays counted");
    }
}
