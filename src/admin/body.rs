//! Reading what an operator sends: bounded in size and in time, because some of it is read before it is known who sends it.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};

use crate::door::Problem;

/// Longest time in which a body arrives, besides what its size adds.
const BASE: Duration = Duration::from_secs(10);

/// Slowest connection for which a body may be as large as allowed, in bytes a second.
const BYTES_PER_SECOND_MIN: usize = 128 * 1024;

/// Reads the whole body of a request, of at most so many bytes.
///
/// # Errors
/// [`Problem::InvalidRequest`] for a body that is larger or breaks off, [`Problem::RequestTimeout`] for one that takes too long.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let most = BASE + Duration::from_secs((bytes_max / BYTES_PER_SECOND_MIN) as u64);
    match tokio::time::timeout(most, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Problem::InvalidRequest),
        Err(_) => Err(Problem::RequestTimeout),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up_however_it_drips() {
        let (mut sender, channel) = Channel::<Bytes>::new(1);
        let drips = async {
            loop {
                sender.send_data(Bytes::from_static(b"a")).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = drips => {}
            read = read_body(Body::new(channel), 64 * 1024) => assert!(matches!(read, Err(Problem::RequestTimeout)), "{read:?}"),
        }
        assert_eq!(read_body(Body::from("whole"), 5).await.unwrap(), "whole");
        assert!(matches!(read_body(Body::from("larger"), 5).await, Err(Problem::InvalidRequest)));
    }
}
