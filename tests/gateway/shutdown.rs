//! Signals, drain, exit codes.

use std::io::Write;

use crate::gateway::{Options, connect, event, post, read_reply, signature};

#[test]
fn a_signal_finishes_the_requests_in_hand_takes_no_more_and_exits_0() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options::new(directory.path()).with("GATEWAY_BODY_TIMEOUT", "10m").with("GATEWAY_BODY_STALL_TIMEOUT", "10m");
    let mut gateway = options.serve();
    let body = event("evt_in_hand");
    let whole = post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes());
    let mut in_hand = connect(gateway.webhooks);
    in_hand.write_all(&whole[..whole.len() - 1]).unwrap();
    gateway.until_in_hand(1);
    gateway.signal("TERM");
    // The listener closes when draining begins.
    while std::net::TcpStream::connect(gateway.webhooks).is_ok() {
        std::thread::yield_now();
    }
    in_hand.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(read_reply(&mut in_hand).expect("an answer").status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().last().unwrap().contains("everything in hand was finished"));
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Options::new(directory.path()).serve();
    let _idle: Vec<_> = (0..5).map(|_| connect(gateway.webhooks)).collect();
    gateway.until(|_| gateway.metric("colony_gateway_connections") >= 5);
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn work_that_outlasts_the_deadline_is_cut_short_and_the_exit_code_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path())
        .with("GATEWAY_SHUTDOWN_DEADLINE", "200ms")
        .with("GATEWAY_BODY_TIMEOUT", "10m")
        .with("GATEWAY_BODY_STALL_TIMEOUT", "10m");
    let mut gateway = options.serve();
    let mut endless = connect(gateway.webhooks);
    endless.write_all(b"POST /webhook HTTP/1.1\r\nhost: x\r\nstripe-signature: t=1,v1=00\r\n").unwrap();
    endless.write_all(b"content-length: 10\r\n\r\n{").unwrap();
    let body = event("evt_1");
    let whole = post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes());
    let mut slow = connect(gateway.webhooks);
    slow.write_all(&whole[..whole.len() - 1]).unwrap();
    gateway.until_in_hand(1);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(3));
}

#[test]
fn under_load_a_shutdown_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path());
    let mut gateway = options.serve();
    let address = gateway.webhooks;
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            std::thread::spawn(move || {
                let mut acknowledged = 0_u64;
                for number in 0.. {
                    let body = event(&format!("evt_{sender}_{number}"));
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { break };
                    let request = post("/webhook", &[("stripe-signature", &signature(&body))], body.as_bytes());
                    if stream.write_all(&request).is_err() {
                        break;
                    }
                    match read_reply(&mut stream) {
                        Some(reply) => acknowledged += u64::from(reply.status == 200),
                        None => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    gateway.until(|health| health["inbox"]["settled"].as_u64().unwrap_or(0) >= 50);
    gateway.signal("TERM");
    let acknowledged: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!(gateway.wait().code(), Some(0));
    let gateway = options.serve();
    let settled = gateway.until_idle()["inbox"]["settled"].as_u64().unwrap();
    assert!(settled >= acknowledged, "{acknowledged} acknowledged, {settled} settled");
}
