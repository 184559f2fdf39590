//! Senders that are slow, large, many or wrong.

use std::io::{Read, Write};

use crate::gateway::{Options, connect, event, post, read_reply, request, signature};

const MIB: usize = 1024 * 1024;

fn chunked(body: &[u8], chunk: usize) -> Vec<u8> {
    let mut request = b"POST /webhooks/stripe HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n".to_vec();
    let signature = signature(std::str::from_utf8(body).expect("text"));
    request.extend(format!("stripe-signature: {signature}\r\ntransfer-encoding: chunked\r\n\r\n").bytes());
    for piece in body.chunks(chunk) {
        request.extend(format!("{:x}\r\n", piece.len()).bytes());
        request.extend_from_slice(piece);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

fn padded(id: &str, bytes: usize) -> String {
    let event = event(id);
    let padding = " ".repeat(bytes - event.len());
    event + &padding
}

#[test]
fn the_body_cap_holds_for_bodies_of_known_length_and_in_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    assert_eq!(gateway.post(&padded("evt_largest", MIB)).status, 200);
    let larger = gateway.post(&padded("evt_larger", MIB + 1));
    assert_eq!((larger.status, larger.problem().as_str()), (413, "body_too_large"));
    assert_eq!(request(gateway.webhooks, &chunked(padded("evt_chunks", MIB).as_bytes(), 10_000)).status, 200);
    let chunks = request(gateway.webhooks, &chunked(padded("evt_more_chunks", MIB + 1).as_bytes(), 10_000));
    assert_eq!((chunks.status, chunks.problem().as_str()), (413, "body_too_large"));
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 2);
}

#[test]
fn heads_are_capped_in_bytes_and_number() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let long = "x".repeat(20_000);
    assert_eq!(request(gateway.webhooks, &post("/webhooks/stripe", &[("x-long", &long)], b"{}")).status, 431);
    let many: Vec<(&str, &str)> = std::iter::repeat_n(("x-many", "y"), 100).collect();
    assert_eq!(request(gateway.webhooks, &post("/webhooks/stripe", &many, b"{}")).status, 431);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
}

#[test]
fn slow_heads_and_bodies_are_given_up_while_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options::new(directory.path()).with("GATEWAY_HEAD_TIMEOUT", "300ms").with("GATEWAY_BODY_TIMEOUT", "300ms");
    let gateway = options.serve();
    let mut slow_head = connect(gateway.webhooks);
    slow_head.write_all(b"POST /webhooks/stripe HTTP/1.1\r\nhost:").unwrap();
    let mut slow_body = connect(gateway.webhooks);
    let body = event("evt_slow");
    let whole = post("/webhooks/stripe", &[("stripe-signature", &signature(&body))], body.as_bytes());
    slow_body.write_all(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(gateway.post(&event("evt_quick")).status, 200);
    let given_up = read_reply(&mut slow_body).expect("an answer");
    assert_eq!((given_up.status, given_up.problem().as_str()), (408, "request_timeout"));
    let mut rest = Vec::new();
    // Closed, with or without an answer; never left open.
    let _ = slow_head.read_to_end(&mut rest);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1);
}

#[test]
fn a_body_that_breaks_off_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let body = event("evt_broken");
    let whole = post("/webhooks/stripe", &[("stripe-signature", &signature(&body))], body.as_bytes());
    let mut stream = connect(gateway.webhooks);
    stream.write_all(&whole[..whole.len() - 5]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = read_reply(&mut stream);
    assert_eq!(gateway.health()["inbox"]["waiting"], 0);
    assert_eq!(gateway.health()["inbox"]["settled"], 0);
}

#[test]
fn more_requests_than_the_bound_are_turned_away_at_once_with_a_time_to_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_REQUESTS_MAX", 1)
        .with("GATEWAY_BODY_TIMEOUT", "10m")
        .with("GATEWAY_BODY_STALL_TIMEOUT", "10m");
    let gateway = options.serve();
    let body = event("evt_holds_the_only_place");
    let whole = post("/webhooks/stripe", &[("stripe-signature", &signature(&body))], body.as_bytes());
    let mut first = connect(gateway.webhooks);
    first.write_all(&whole[..whole.len() - 1]).unwrap();
    gateway.until_in_hand(1);
    let turned_away = gateway.post(&event("evt_2"));
    assert_eq!((turned_away.status, turned_away.problem().as_str()), (503, "overloaded"));
    assert_eq!(turned_away.headers["retry-after"], "5");
    first.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(read_reply(&mut first).expect("an answer").status, 200);
}

#[test]
fn the_oldest_silent_connection_makes_room_for_the_newest_and_probes_get_through() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_CONNECTIONS_MAX", 3).serve();
    let mut silent: Vec<_> = (0..3).map(|_| connect(gateway.webhooks)).collect();
    gateway.until(|_| gateway.metric("colony_gateway_connections") == 3);
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert_eq!(silent[0].read(&mut [0]).unwrap_or(0), 0, "it was hung up on");
    assert!(gateway.metric("colony_gateway_connections_displaced_total") >= 1);
    assert_eq!(gateway.metric("colony_gateway_connections_refused_total"), 0);
}

/// Where the system gives fewer files than the bound on connections, silent ones must not keep the last of them.
#[cfg(target_os = "linux")]
#[test]
fn silent_connections_make_room_where_no_file_can_be_opened() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_HEAD_TIMEOUT", "10m").serve();
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap().count() as u64;
    let pid = Pid::from_raw(i32::try_from(gateway.id()).unwrap());
    let few = Rlimit { current: Some(open + 4), maximum: Some(1024) };
    prlimit(pid, Resource::Nofile, few).unwrap();
    let silent: Vec<_> = (0..20).map(|_| connect(gateway.webhooks)).collect();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    // The admin listener needs a file too.
    drop(silent);
    assert!(gateway.metric("colony_gateway_connections_displaced_total") >= 1);
}

#[test]
fn a_connection_is_turned_away_when_all_others_are_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_CONNECTIONS_MAX", 1)
        .with("GATEWAY_BODY_TIMEOUT", "10m")
        .with("GATEWAY_BODY_STALL_TIMEOUT", "10m");
    let gateway = options.serve();
    let body = event("evt_at_work");
    let whole = post("/webhooks/stripe", &[("stripe-signature", &signature(&body))], body.as_bytes());
    let mut first = connect(gateway.webhooks);
    first.write_all(&whole[..whole.len() - 1]).unwrap();
    gateway.until_in_hand(1);
    let turned_away = request(gateway.webhooks, b"");
    assert_eq!((turned_away.status, turned_away.problem().as_str()), (503, "overloaded"));
    assert_eq!(gateway.metric("colony_gateway_connections_refused_total"), 1);
    first.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(read_reply(&mut first).expect("an answer").status, 200);
}

#[test]
fn one_sender_has_its_share_and_a_trusted_proxy_says_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_REQUESTS_MAX", 2)
        .with("GATEWAY_PEER_SHARE", 50)
        .with("GATEWAY_BODY_TIMEOUT", "10m")
        .with("GATEWAY_BODY_STALL_TIMEOUT", "10m");
    let gateway = options.serve();
    let body = event("evt_1");
    let signature = signature(&body);
    let from = |address: &str| {
        let headers = [("stripe-signature", signature.as_str()), ("x-forwarded-for", address)];
        post("/webhooks/stripe", &headers, body.as_bytes())
    };
    let whole = from("203.0.113.7");
    let mut first = connect(gateway.webhooks);
    first.write_all(&whole[..whole.len() - 1]).unwrap();
    gateway.until_in_hand(1);
    let over = request(gateway.webhooks, &whole);
    assert_eq!((over.status, over.problem().as_str()), (429, "peer_over_share"));
    assert_eq!(request(gateway.webhooks, &from("198.51.100.1")).status, 200);
    first.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(read_reply(&mut first).expect("an answer").status, 200);
}

#[test]
fn with_a_list_of_addresses_others_are_refused_before_their_body() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_WEBHOOK_PEERS", "203.0.113.0/24").serve();
    let body = event("evt_1");
    let signature = signature(&body);
    for (address, status) in [("203.0.113.7", 200), ("198.51.100.1", 403), ("203.0.113.7, 198.51.100.1", 403)] {
        let headers = [("stripe-signature", signature.as_str()), ("x-forwarded-for", address)];
        let reply = request(gateway.webhooks, &post("/webhooks/stripe", &headers, body.as_bytes()));
        assert_eq!(reply.status, status, "{address}");
    }
    // The proxy itself is not listed either, and no body is waited for.
    let head = format!(
        "POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\nstripe-signature: {signature}\r\ncontent-length: 100\r\n\r\n"
    );
    assert_eq!(request(gateway.webhooks, head.as_bytes()).problem(), "peer_not_listed");
    assert_eq!(gateway.get("/readyz").status, 200, "probes are for everybody");
}

#[test]
fn a_flood_of_forgeries_leaves_few_lines_and_a_long_method_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let forged = post("/webhooks/stripe", &[("stripe-signature", "t=1,v1=00")], b"{}");
    for _ in 0..100 {
        assert_eq!(request(gateway.webhooks, &forged).status, 400);
    }
    let method = "X".repeat(12_000);
    let long = format!("{method} /webhooks/stripe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(request(gateway.webhooks, long.as_bytes()).status, 405);
    let log = gateway.whole_log();
    let lines = log.iter().filter(|line| line.contains("invalid_signature")).count();
    assert!((1..=60).contains(&lines), "{lines} lines, which may be of two minutes");
    let cut: Vec<_> = log.iter().filter(|line| line.contains("method_not_allowed")).collect();
    assert!(cut.len() == 1 && cut[0].len() < 1000, "{cut:?}");
    assert!(cut[0].contains("127.0.0.1"), "{cut:?}");
    let counted = gateway.metric(r#"colony_gateway_webhook_requests_total{result="invalid_signature"}"#);
    assert_eq!(counted, 100);
}

#[test]
fn the_admin_listener_answers_under_its_own_names_only() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).with("GATEWAY_ADMIN_HOSTS", "gateway.example.com").serve();
    let ask = |host: &str| {
        let text = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        request(gateway.admin, text.as_bytes())
    };
    for host in ["127.0.0.1:9090", "localhost", "gateway", "gateway.example.com:9090"] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    let rebound = ask("attacker.example.net:9090");
    assert_eq!((rebound.status, rebound.problem().as_str()), (421, "unknown_host"));
}

#[test]
fn several_requests_on_one_connection_are_answered_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let mut stream = connect(gateway.webhooks);
    let mut both = Vec::new();
    for id in ["evt_1", "evt_2"] {
        let body = event(id);
        let head = format!(
            "POST /webhook HTTP/1.1\r\nhost: gateway\r\nstripe-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
            signature(&body),
            body.len()
        );
        both.extend(head.bytes());
    }
    stream.write_all(&both).unwrap();
    let mut answers = String::new();
    let mut buffer = [0; 1024];
    while answers.matches("HTTP/1.1 200 OK").count() < 2 {
        let read = stream.read(&mut buffer).expect("two answers");
        assert!(read > 0, "{answers}");
        answers.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 2);
}

#[test]
fn garbage_never_takes_the_gateway_down() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Options::new(directory.path()).serve();
    let garbage: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /webhooks/stripe HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = connect(gateway.webhooks);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        if let Some(reply) = read_reply(&mut stream) {
            assert!((400..600).contains(&reply.status), "{reply:?}");
        }
    }
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
}
