//! Envelopes, signatures and statuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{World, key};

pub(crate) async fn the_health_check_answers_200_and_other_paths_404(world: World) {
    let (status, content_type, body) = world.get("/health").await;
    assert_eq!((status, content_type.as_str(), body.as_str()), (200, "text/plain; charset=utf-8", ""));
    for path in ["/", "/api", "/api/v1/health"] {
        let (status, content_type, body) = world.get(path).await;
        assert_eq!((status, content_type.as_str(), body.as_str()), (404, "text/plain", "404 page not found"), "{path}");
    }
}

pub(crate) async fn replies_are_plain_text_and_repeat_the_status(world: World) {
    let done = world.send("getexecutorsmsg", json!({"colonyname": world.colony}), &world.user_key).await;
    assert_eq!((done.status, done.content_type.as_str()), (200, "text/plain; charset=utf-8"));
    assert_eq!((done.payloadtype.as_str(), done.error), ("getexecutorsmsg", false));
    let refused = world.send("getprocessmsg", json!({"processid": "00"}), &world.user_key).await;
    assert_eq!((refused.status, refused.content_type.as_str()), (404, "text/plain; charset=utf-8"));
    assert_eq!((refused.payloadtype.as_str(), refused.error), ("error", true));
    assert_eq!(refused.payload, json!({"status": 404, "message": "Failed to get process, process not found"}));
}

pub(crate) async fn the_version_needs_no_valid_key(world: World) {
    let payload = STANDARD.encode(json!({"msgtype": "versionmsg"}).to_string());
    let body = json!({"payloadtype": "versionmsg", "payload": payload, "signature": "nonsense"});
    let reply = world.post(body.to_string()).await;
    assert_eq!((reply.status, reply.payload["msgtype"].as_str()), (200, Some("versionmsg")));
    world.client.version().await.unwrap();
}

pub(crate) async fn a_body_that_is_no_request_is_400(world: World) {
    for (body, words) in [
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("", "unexpected end of JSON input"),
        ("<html>", "invalid character '<' looking for beginning of value"),
        ("[]", "json: cannot unmarshal array into Go value of type rpc.RPCMsg"),
    ] {
        assert_eq!(world.post(body.to_owned()).await.refusal(), (400, words), "{body}");
    }
}

pub(crate) async fn a_payload_that_is_not_the_messages_json_is_400(world: World) {
    for (kind, words) in [
        ("getprocessmsg", "Failed to get process, invalid JSON"),
        ("submitfuncspecmsg", "Failed to submit process, invalid JSON"),
        ("assignprocessmsg", "Failed to assign process, invalid JSON"),
        ("closesuccessfulmsg", "Failed to close successful, invalid JSON"),
        ("closefailedmsg", "Failed to close failed, invalid JSON"),
        ("changeuseridmsg", "Failed to add log, invalid JSON"),
        ("getlogsmsg", "Failed to get logs, invalid JSON"),
        ("versionmsg", "Failed to get server version, invalid JSON"),
    ] {
        assert_eq!(world.send_text(kind, "{nope", &world.user_key).await.refusal(), (400, words), "{kind}");
    }
    let wrong_type = json!({"colonyname": world.colony, "timeout": "1"});
    let reply = world.send("assignprocessmsg", wrong_type, &world.user_key).await;
    assert_eq!(reply.refusal(), (400, "Failed to assign process, invalid JSON"));
    let signature = world.user_key.sign("%%%");
    let body = json!({"payloadtype": "getprocessmsg", "payload": "%%%", "signature": signature});
    assert_eq!(world.post(body.to_string()).await.refusal(), (400, "Failed to get process, invalid JSON"));
}

pub(crate) async fn a_payload_of_another_type_is_400(world: World) {
    for (kind, words) in [
        ("getprocessmsg", "Failed to get process, msg.MsgType does not match payloadType"),
        ("submitfuncspecmsg", "Failed to submit process spec, msg.MsgType does not match payloadType"),
        ("assignprocessmsg", "Failed to assign process, msg.msgType does not match payloadType"),
        ("closesuccessfulmsg", "Failed to close process as successful, msg.MsgType does not match payloadType"),
        ("closefailedmsg", "Failed to close process as failed, msg.MsgType does not match payloadType"),
        ("changeuseridmsg", "Failed to change user Id, msg.MsgType does not match payloadType"),
        ("rejectexecutormsg", "Failed to reject executor, msg.MsgType does not match payloadType"),
    ] {
        let reply = world.send_text(kind, r#"{"msgtype": "other"}"#, &world.user_key).await;
        assert_eq!(reply.refusal(), (400, words), "{kind}");
    }
}

pub(crate) async fn an_unknown_type_is_403(world: World) {
    let reply = world.send("nosuchmsg", json!({}), &world.user_key).await;
    assert_eq!(reply.refusal(), (403, "invalid rpcMsg.PayloadType: nosuchmsg"));
}

pub(crate) async fn a_signature_that_names_nobody_is_403(world: World) {
    let payload = STANDARD.encode(json!({"msgtype": "getprocessmsg", "processid": "00"}).to_string());
    let good = world.user_key.sign(&payload);
    let body = |signature: &str| {
        json!({"payloadtype": "getprocessmsg", "payload": payload, "signature": signature}).to_string()
    };
    assert_eq!(world.post(body(&good)).await.status, 404, "the unspoiled signature is accepted");
    assert_eq!(world.post(body(&good.to_uppercase())).await.status, 404, "the case of the hex does not matter");
    for (signature, words) in [
        ("", "Invalid signature length"),
        ("00", "Invalid signature length"),
        (&format!("{good}00"), "Invalid signature length"),
        (&good[1..], "encoding/hex: odd length hex string"),
        (&format!("zz{}", &good[2..]), "encoding/hex: invalid byte: U+007A 'z'"),
        (&higher_form(&good), "Failed verify signature: Signature s value is over half the order"),
    ] {
        assert_eq!(world.post(body(signature)).await.refusal(), (403, words), "{signature}");
    }
    for spoiled in ["00".repeat(65), format!("{}{}", "ff".repeat(32), &good[64..]), format!("{}ff", &good[..128])] {
        let reply = world.post(body(&spoiled)).await;
        let (status, words) = reply.refusal();
        assert_eq!(status, 403, "{spoiled}");
        assert!(words.starts_with("Failed to recover public key: invalid signature: "), "{words}");
    }
}

/// The other signature that the same key could have made: `s` becomes the order of the curve minus `s`.
fn higher_form(signature: &str) -> String {
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let bytes = hex::decode(signature).unwrap();
    let mut borrow = 0_u8;
    let mut other: Vec<u8> = hex::decode(ORDER).unwrap();
    for (digit, subtracted) in other.iter_mut().rev().zip(bytes[32..64].iter().rev()) {
        let (once, under) = digit.overflowing_sub(*subtracted);
        let (twice, under_again) = once.overflowing_sub(borrow);
        *digit = twice;
        borrow = u8::from(under || under_again);
    }
    format!("{}{}{:02x}", &signature[..64], hex::encode(other), bytes[64] ^ 1)
}

pub(crate) async fn a_signature_over_another_payload_names_a_stranger(world: World) {
    let payload = STANDARD.encode(json!({"msgtype": "getexecutorsmsg", "colonyname": world.colony}).to_string());
    let signature = world.user_key.sign("another payload");
    let body = json!({"payloadtype": "getexecutorsmsg", "payload": payload, "signature": signature});
    assert_eq!(world.post(body.to_string()).await.status, 403);
}

pub(crate) async fn a_request_that_is_sent_twice_is_carried_out_twice(world: World) {
    let message = json!({"msgtype": "submitfuncspecmsg", "spec": world.job()}).to_string();
    let payload = STANDARD.encode(message);
    let signature = world.user_key.sign(&payload);
    let body = json!({"payloadtype": "submitfuncspecmsg", "payload": payload, "signature": signature}).to_string();
    let (first, second) = (world.post(body.clone()).await, world.post(body).await);
    assert_eq!((first.status, second.status), (200, 200));
    assert_ne!(first.payload["processid"], second.payload["processid"]);
}

pub(crate) async fn an_empty_list_is_null(world: World) {
    let nothing = json!({"colonyname": world.colony, "count": 10, "state": 0});
    for (kind, message) in [("getprocessesmsg", nothing), ("getexecutorsmsg", json!({"colonyname": world.colony}))] {
        let reply = world.send(kind, message, &world.user_key).await;
        assert_eq!((reply.status, &reply.payload), (200, &Value::Null), "{kind}");
        assert!(reply.body.contains(&STANDARD.encode("null")), "{}", reply.body);
    }
    let stranger = world.send("getexecutorsmsg", json!({"colonyname": world.colony}), &key()).await;
    assert_eq!(stranger.status, 403, "a stranger is not told that there are none");
}
