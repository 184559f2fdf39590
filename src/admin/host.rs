//! Under which names the admin listener answers: a page of another site, whose name was pointed here, reads nothing.
//!
//! Addresses are taken as they are, since no page has one of ours as its own without being ours. So are names that no public
//! registry gives out: those of container networks, of clusters, of this machine. Others are named in `http.admin_hosts`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::domain::network::Distance;
use crate::door::Problem;

pub async fn layer(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let mut values = request.headers().get_all(header::HOST).iter();
    let given = match (values.next(), values.next()) {
        (None, _) => request.uri().authority().map(|authority| authority.as_str().to_owned()),
        (Some(only), None) => Some(String::from_utf8_lossy(only.as_bytes()).into_owned()),
        (Some(_), Some(_)) => return Problem::UnknownHost.into_response(),
    };
    // Without a name, the client was not a browser.
    if given.is_none_or(|given| is_ours(&given, &hosts)) {
        next.run(request).await
    } else {
        Problem::UnknownHost.into_response()
    }
}

fn is_ours(given: &str, hosts: &[String]) -> bool {
    let host = match given.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => given,
    };
    let is_address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    is_address
        || Distance::to_host(host) != Distance::Public
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_name_is_ours_only_when_it_is_named() {
        let hosts = ["gateway.example.com".to_owned()];
        let ours = [
            "127.0.0.1:9090",
            "[::1]:9090",
            "203.0.113.7",
            "localhost:9090",
            "gateway:9090",
            "colony-gateway.revenue.svc.cluster.local:9090",
            "Gateway.Example.com",
        ];
        for given in ours {
            assert!(is_ours(given, &hosts), "{given}");
        }
        for given in
            ["attacker.example.net", "attacker.example.net:9090", "127.0.0.1.example.net", "x.gateway.example.com"]
        {
            assert!(!is_ours(given, &hosts), "{given}");
        }
    }
}
