//! The HTTP client that stands for Stripe's.

use reqwest::{Client, Response, redirect};

use super::{ANSWER_BYTES_MAX, CONCURRENCY_MAX, TrafficOptions};

/// One client for all requests. Certificate authorities are loaded for `https` only, so that plain `http` works on
/// systems that have none.
pub(super) fn build(options: &TrafficOptions) -> reqwest::Result<Client> {
    // Fails when a provider is installed already, which is as good: reqwest takes whichever is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(options.timeout)
        .timeout(options.timeout)
        .pool_max_idle_per_host(options.concurrency.get().min(CONCURRENCY_MAX));
    if options.url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// Reads the answer to its end, so that the connection can be used again, but no further than the bound.
pub(super) async fn drain(mut answer: Response) -> reqwest::Result<()> {
    let mut left = ANSWER_BYTES_MAX;
    while let Some(chunk) = answer.chunk().await? {
        let Some(rest) = left.checked_sub(chunk.len()) else { return Ok(()) };
        left = rest;
    }
    Ok(())
}
