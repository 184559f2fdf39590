//! Which addresses of Redis are taken.

use redis::Client;

use super::install_crypto;

/// The address of Redis cannot be used. The error does not repeat it, because it holds the password.
#[derive(Debug, thiserror::Error)]
#[error("must be redis://[user:password@]host:port[/database], or rediss:// with TLS")]
pub struct BadAddress;

/// A client for the Redis at `url`. Connects to nothing yet.
///
/// # Errors
/// If such an address is not supported.
pub fn client(url: &str) -> Result<Client, BadAddress> {
    // The library also supports local sockets and other transports, but monitors do not share those.
    let rest = url.strip_prefix("redis://").or_else(|| url.strip_prefix("rediss://")).ok_or(BadAddress)?;
    // A fragment can switch off the verification of certificates.
    if rest.contains('#') {
        return Err(BadAddress);
    }
    install_crypto();
    Client::open(url).map_err(|_| BadAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_redis_are_taken_and_none_is_repeated() {
        for good in ["redis://127.0.0.1:6379", "rediss://default:hunter2@eu1.upstash.io:6379", "redis://:hunter2@h/3"] {
            assert!(client(good).is_ok(), "{good}");
        }
        for bad in ["", "https://eu1.upstash.io", "unix:///run/redis", "redis://", "rediss://u:hunter2@h/#insecure"] {
            let error = client(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{bad}");
        }
    }
}
