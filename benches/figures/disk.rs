//! What the disk alone allows: the least that an acknowledgement can take whose event has to be on it first.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::load::Latencies;

/// Bytes that are written over and over, so that no block has to be allocated.
const FILE_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of an event: a compressed body and a row.
const EVENT_BYTES: usize = 512;

/// Writes events at a fixed rate for so long, whatever the disk does: one thread writes all that are due at once and waits
/// for one `fdatasync`. A time counts from when its event was due.
///
/// # Errors
/// When the disk is full or broken.
pub(crate) fn sync(bench: &Bench, rate: u32, time: Duration) -> anyhow::Result<Latencies> {
    let file = tempfile::tempfile().context("no temporary file")?;
    file.write_all_at(&vec![1; FILE_BYTES], 0)?;
    file.sync_all()?;
    let begin = bench.clock.instant();
    let due = |number: u32| begin + Duration::from_secs(1) * number / rate;
    let total = u32::try_from(time.as_secs())? * rate;
    let (mut latencies, mut offset) = (Vec::new(), 0);
    let mut next = 0;
    while next < total {
        std::thread::sleep(due(next).saturating_duration_since(bench.clock.instant()));
        let now = bench.clock.instant();
        let end = (next + 1..total).find(|number| due(*number) > now).unwrap_or(total);
        offset = write(&file, offset, (end - next) as usize)?;
        let done = bench.clock.instant();
        latencies.extend((next..end).map(|number| done.duration_since(due(number))));
        next = end;
    }
    Ok(Latencies::new(latencies))
}

/// Writes so many events and gives the offset of the next.
fn write(file: &File, offset: usize, events: usize) -> anyhow::Result<usize> {
    let bytes = (events * EVENT_BYTES).min(FILE_BYTES);
    let offset = if offset + bytes > FILE_BYTES { 0 } else { offset };
    file.write_all_at(&vec![2; bytes], offset as u64)?;
    file.sync_data()?;
    Ok(offset + bytes)
}
