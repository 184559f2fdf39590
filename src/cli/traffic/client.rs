//! The HTTP client that plays Stripe's part.

use reqwest::{Client, Response};

use super::{ANSWER_BYTES_MAX, CONCURRENCY_MAX, TrafficOptions};
use crate::outbound::{self, ReadError};

/// One client for all requests. It loads certificate authorities only for `https`, so that plain `http` works on systems
/// without any.
pub(super) fn build(options: &TrafficOptions) -> reqwest::Result<Client> {
    let mut builder = outbound::client(options.timeout)
        .http1_only()
        .no_proxy()
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .pool_max_idle_per_host(options.concurrency.get().min(CONCURRENCY_MAX));
    if options.url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// Reads the answer to its end, so that the connection can be used again, but not beyond the bound.
pub(super) async fn drain(answer: Response) -> reqwest::Result<()> {
    match outbound::read(answer, ANSWER_BYTES_MAX).await {
        Ok(_) | Err(ReadError::TooLarge) => Ok(()),
        Err(ReadError::Broken(error)) => Err(error),
    }
}
