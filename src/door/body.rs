//! Reading a body under three bounds: its own size, all bodies in hand together, and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Problem;
use crate::domain::limits::WEBHOOK_BODY_BYTES_MAX;

/// Bytes that one permit of the budget stands for.
pub(super) const PERMIT_BYTES: usize = 1024;

/// A body and the share of the budget that it holds until it is dropped.
#[derive(Debug)]
pub(super) struct HeldBody<'a> {
    pub(super) bytes: Bytes,
    _share: Option<SemaphorePermit<'a>>,
}

/// Bodies up to this size are copied out of the connection's buffer, which then serves the next request as it is. Otherwise
/// the connection would need a new buffer, which is several times as large as most bodies, for each request.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// Reads a whole body, chunked or not. A large body that comes in one piece is not copied.
pub(super) async fn read<B>(body: B, budget: &Semaphore, deadline: Duration) -> Result<HeldBody<'_>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > WEBHOOK_BODY_BYTES_MAX as u64 {
        return Err(Problem::BodyTooLarge);
    }
    match tokio::time::timeout(deadline, collect(body, budget)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::RequestTimeout),
    }
}

async fn collect<B>(mut body: B, budget: &Semaphore) -> Result<HeldBody<'_>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share: Option<SemaphorePermit<'_>> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyIncomplete)?.into_data() else { continue };
        let length = first.len() + rest.len() + data.len();
        if length > WEBHOOK_BODY_BYTES_MAX {
            return Err(Problem::BodyTooLarge);
        }
        let wanted = length.div_ceil(PERMIT_BYTES);
        let held = share.as_ref().map_or(0, SemaphorePermit::num_permits);
        if let Some(missing) = wanted.checked_sub(held).and_then(|missing| u32::try_from(missing).ok()) {
            let more = budget.try_acquire_many(missing).map_err(|_| Problem::Overloaded)?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
        }
        if first.is_empty() && rest.is_empty() {
            first = if data.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&data) } else { data };
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(HeldBody { bytes, _share: share })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::channel::Channel;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A body in pieces, as chunked transfer brings it: without a size known in advance.
    fn pieces(sizes: &[usize]) -> Body {
        let (mut sender, channel) = Channel::<Bytes>::new(sizes.len().max(1));
        for size in sizes {
            sender.try_send(hyper::body::Frame::data(Bytes::from(vec![b'x'; *size]))).unwrap();
        }
        Body::new(channel)
    }

    fn budget(bytes: usize) -> Semaphore {
        Semaphore::new(bytes.div_ceil(PERMIT_BYTES))
    }

    #[tokio::test]
    async fn the_cap_binds_with_and_without_a_length() {
        let budget = budget(4 * WEBHOOK_BODY_BYTES_MAX);
        let largest = read(Body::from(vec![b'x'; WEBHOOK_BODY_BYTES_MAX]), &budget, SECOND).await.unwrap();
        assert_eq!(largest.bytes.len(), WEBHOOK_BODY_BYTES_MAX);
        let larger = read(Body::from(vec![b'x'; WEBHOOK_BODY_BYTES_MAX + 1]), &budget, SECOND).await;
        assert!(matches!(larger, Err(Problem::BodyTooLarge)));
        let half = WEBHOOK_BODY_BYTES_MAX / 2;
        assert_eq!(read(pieces(&[half, half]), &budget, SECOND).await.unwrap().bytes.len(), WEBHOOK_BODY_BYTES_MAX);
        assert!(matches!(read(pieces(&[half, half, 1]), &budget, SECOND).await, Err(Problem::BodyTooLarge)));
    }

    #[tokio::test]
    async fn all_bodies_together_stay_within_the_budget_and_give_their_share_back() {
        let budget = budget(10 * PERMIT_BYTES);
        let first = read(pieces(&[PERMIT_BYTES * 3, 1]), &budget, SECOND).await.unwrap();
        assert_eq!(budget.available_permits(), 6);
        let second = read(pieces(&[PERMIT_BYTES * 4, PERMIT_BYTES * 3]), &budget, SECOND).await;
        assert!(matches!(second, Err(Problem::Overloaded)));
        assert_eq!(budget.available_permits(), 6);
        drop(first);
        assert_eq!(budget.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let (_sender, channel) = Channel::<Bytes>::new(1);
        let budget = budget(PERMIT_BYTES);
        let given_up = read(Body::new(channel), &budget, SECOND).await;
        assert!(matches!(given_up, Err(Problem::RequestTimeout)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let (sender, channel) = Channel::<Bytes, std::io::Error>::new(1);
        sender.abort(std::io::Error::other("reset"));
        assert!(matches!(read(Body::new(channel), &budget(1), SECOND).await, Err(Problem::BodyIncomplete)));
    }

    #[tokio::test]
    async fn only_a_small_body_in_one_piece_is_copied() {
        let budget = budget(4 * COPIED_BYTES_MAX);
        for (size, copied) in [(COPIED_BYTES_MAX, true), (COPIED_BYTES_MAX + 1, false)] {
            let bytes = Bytes::from(vec![b'x'; size]);
            let read = read(Body::from(bytes.clone()), &budget, SECOND).await.unwrap();
            assert_eq!(read.bytes, bytes);
            assert_eq!(read.bytes.as_ptr() != bytes.as_ptr(), copied, "{size}");
        }
    }
}
