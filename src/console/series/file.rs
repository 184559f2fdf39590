//! The series on disk: small, written as a whole, and nothing that anything depends on.

use std::io::{self, Write as _};
use std::path::Path;

use super::ring::{COLUMNS, Point, Ring};

/// The beginning of the file. Another layout would have another mark.
const MARK: &[u8; 8] = b"series01";

/// Bytes of a point: its number and its values.
const POINT_BYTES: usize = 8 + 4 * COLUMNS;

pub(super) fn bytes(rings: &[Ring]) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    for ring in rings {
        bytes.extend(u32::try_from(ring.points.len()).unwrap_or(0).to_le_bytes());
        for (number, Point(values)) in &ring.points {
            bytes.extend(number.to_le_bytes());
            for value in values {
                bytes.extend(value.to_le_bytes());
            }
        }
    }
    bytes
}

/// Fills rings as far as the bytes make sense.
pub(super) fn restore(bytes: &[u8], rings: &mut [Ring]) {
    let Some(mut rest) = bytes.strip_prefix(MARK.as_slice()) else { return };
    for ring in rings {
        let Some((count, after)) = rest.split_first_chunk::<4>() else { return };
        let count = u32::from_le_bytes(*count) as usize;
        let Some((points, after)) = after.split_at_checked(count.saturating_mul(POINT_BYTES)) else { return };
        for point in points.chunks_exact(POINT_BYTES) {
            let Some((number, values)) = point.split_first_chunk::<8>() else { return };
            let mut columns = [f32::NAN; COLUMNS];
            for (column, value) in columns.iter_mut().zip(values.as_chunks::<4>().0) {
                *column = f32::from_le_bytes(*value);
            }
            ring.restore(i64::from_le_bytes(*number), Point(columns));
        }
        rest = after;
    }
}

/// Replaces the file, which only its owner can read.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    crate::domain::private::file(&new)?;
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    drop(file);
    std::fs::rename(new, path)
}
