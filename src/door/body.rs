//! Reading a body under bounds: its own size, all bodies in hand together and those of one sender, time, and pace.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::Problem;
use super::shares::Place;
use crate::config::WebhookBounds;
use crate::domain::limits::WEBHOOK_BODY_BYTES_MAX;

/// Bodies up to this size are copied out of the connection's buffer, which then serves the next request unchanged.
/// Otherwise the connection would need a new buffer for each request, several times as large as most bodies.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// How many bytes of a body must arrive within [`WebhookBounds::body_stall_timeout`], unless it ends. A sender that holds
/// back the last byte of a large body is cut off by this too.
const STEP_BYTES: usize = 4 * 1024;

/// Reads a whole body, chunked or not. A large body in one piece is not copied. Its bytes are counted at `place`.
pub(super) async fn read<B>(body: B, place: &mut Place<'_>, bounds: &WebhookBounds) -> Result<Bytes, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let told = body.size_hint().lower();
    if told > WEBHOOK_BODY_BYTES_MAX as u64 {
        return Err(Problem::BodyTooLarge);
    }
    let mut reading = Reading { body, first: Bytes::new(), rest: BytesMut::new() };
    within(bounds.body_timeout, async {
        while within(bounds.body_stall_timeout, reading.step(place)).await? {}
        Ok(())
    })
    .await?;
    Ok(if reading.rest.is_empty() { reading.first } else { reading.rest.freeze() })
}

async fn within<T>(deadline: Duration, reading: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::time::timeout(deadline, reading).await.unwrap_or(Err(Problem::RequestTimeout))
}

struct Reading<B> {
    body: B,
    /// The whole body, as long as it came in one piece.
    first: Bytes,
    rest: BytesMut,
}

impl<B> Reading<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    /// Reads one step further. Returns false at the end.
    async fn step(&mut self, place: &mut Place<'_>) -> Result<bool, Problem> {
        let mut gone = 0;
        while gone < STEP_BYTES {
            let Some(frame) = self.body.frame().await else { return Ok(false) };
            let Ok(data) = frame.map_err(|_| Problem::BodyIncomplete)?.into_data() else { continue };
            gone += data.len();
            self.take(data, place)?;
        }
        Ok(true)
    }

    fn take(&mut self, data: Bytes, place: &mut Place<'_>) -> Result<(), Problem> {
        let length = self.first.len() + self.rest.len() + data.len();
        if length > WEBHOOK_BODY_BYTES_MAX {
            return Err(Problem::BodyTooLarge);
        }
        place.hold(length)?;
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = if data.len() <= COPIED_BYTES_MAX { Bytes::copy_from_slice(&data) } else { data };
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::channel::Channel;

    use super::super::peer::Peer;
    use super::super::shares::Shares;
    use super::*;
    use crate::config::Share;
    use crate::domain::network::Networks;

    fn bounds(bytes: usize) -> WebhookBounds {
        WebhookBounds {
            requests_max: 9,
            body_bytes_in_hand_max: bytes,
            small_bodies_in_hand_max: bytes,
            body_timeout: Duration::from_mins(1),
            body_stall_timeout: Duration::from_secs(2),
            append_timeout: Duration::from_mins(1),
        }
    }

    async fn read_alone<B>(body: B) -> Result<Bytes, Problem>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let bounds = bounds(4 * WEBHOOK_BODY_BYTES_MAX);
        let shares = Shares::new(&bounds, Share::percent(100));
        let peer = Peer::connected([192, 0, 2, 1].into(), &Networks::default());
        let mut place = shares.enter(peer)?;
        read(body, &mut place, &bounds).await
    }

    /// A body in pieces, as in chunked transfer: its size is not known in advance.
    fn pieces(sizes: &[usize]) -> Body {
        let (mut sender, channel) = Channel::<Bytes>::new(sizes.len().max(1));
        for size in sizes {
            sender.try_send(hyper::body::Frame::data(Bytes::from(vec![b'x'; *size]))).unwrap();
        }
        Body::new(channel)
    }

    #[tokio::test]
    async fn the_cap_binds_with_and_without_a_length() {
        let largest = read_alone(Body::from(vec![b'x'; WEBHOOK_BODY_BYTES_MAX])).await.unwrap();
        assert_eq!(largest.len(), WEBHOOK_BODY_BYTES_MAX);
        let larger = read_alone(Body::from(vec![b'x'; WEBHOOK_BODY_BYTES_MAX + 1])).await;
        assert!(matches!(larger, Err(Problem::BodyTooLarge)));
        let half = WEBHOOK_BODY_BYTES_MAX / 2;
        assert_eq!(read_alone(pieces(&[half, half])).await.unwrap().len(), WEBHOOK_BODY_BYTES_MAX);
        assert!(matches!(read_alone(pieces(&[half, half, 1])).await, Err(Problem::BodyTooLarge)));
    }

    #[tokio::test]
    async fn all_bodies_together_stay_within_the_budget_and_give_their_share_back() {
        let bounds = bounds(10 * 1024);
        let shares = Shares::new(&bounds, Share::percent(100));
        let peer = || Peer::connected([127, 0, 0, 1].into(), &"loopback".parse().unwrap());
        let (mut first, mut second) = (shares.enter(peer()).unwrap(), shares.enter(peer()).unwrap());
        read(pieces(&[3 * 1024, 1]), &mut first, &bounds).await.unwrap();
        let refused = read(pieces(&[4 * 1024, 3 * 1024]), &mut second, &bounds).await;
        assert!(matches!(refused, Err(Problem::Overloaded)));
        drop(first);
        let mut third = shares.enter(peer()).unwrap();
        drop(second);
        read(pieces(&[4 * 1024, 3 * 1024]), &mut third, &bounds).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_go_on_is_given_up_however_much_of_it_is_there() {
        for sent in [0, 10, WEBHOOK_BODY_BYTES_MAX - 1] {
            let (mut sender, channel) = Channel::<Bytes>::new(1);
            sender.try_send(hyper::body::Frame::data(Bytes::from(vec![b'x'; sent]))).unwrap();
            let began = tokio::time::Instant::now();
            assert!(matches!(read_alone(Body::new(channel)).await, Err(Problem::RequestTimeout)), "{sent}");
            assert_eq!(began.elapsed().as_secs(), 2, "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_one_that_goes_on_is_not() {
        for (bytes, taken) in [(100, false), (STEP_BYTES, true)] {
            let (mut sender, channel) = Channel::<Bytes>::new(1);
            let drip = async move {
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(1500)).await;
                    let _ = sender.send_data(Bytes::from(vec![b'x'; bytes])).await;
                }
            };
            let (read, ()) = tokio::join!(read_alone(Body::new(channel)), drip);
            match read {
                Ok(body) => assert_eq!((body.len(), taken), (10 * STEP_BYTES, true)),
                Err(problem) => assert!(!taken && matches!(problem, Problem::RequestTimeout), "{problem}"),
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let (sender, channel) = Channel::<Bytes, std::io::Error>::new(1);
        sender.abort(std::io::Error::other("reset"));
        assert!(matches!(read_alone(Body::new(channel)).await, Err(Problem::BodyIncomplete)));
    }

    #[tokio::test]
    async fn only_a_small_body_in_one_piece_is_copied() {
        for (size, copied) in [(COPIED_BYTES_MAX, true), (COPIED_BYTES_MAX + 1, false)] {
            let bytes = Bytes::from(vec![b'x'; size]);
            let read = read_alone(Body::from(bytes.clone())).await.unwrap();
            assert_eq!(read, bytes);
            assert_eq!(read.as_ptr() != bytes.as_ptr(), copied, "{size}");
        }
    }
}
