//! Text that tries to be more than text, wherever events, senders and people can put some.

use serde_json::json;

use crate::world::{ANA, World};

const CORPUS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>",
    "' onmouseover='alert(3)",
    "<svg/onload=alert(4)>",
    "</textarea></title><iframe src=javascript:alert(5)>",
    "<button hx-post=\"/console/logout/all\" hx-trigger=\"load\">",
];

/// Nothing of the corpus may stand in a page as markup.
fn assert_inert(page: &str, path: &str) {
    for mark in ["<script>", "<img src=x", "' onmouseover='", "<svg/onload", "<iframe", "<button hx-post"] {
        assert!(!page.contains(mark), "{mark} stands in {path}");
    }
    assert!(!page.contains("onerror=alert") || page.contains("&#60;img"), "{path}");
}

#[tokio::test]
async fn hostile_text_in_events_and_orders_stays_text() {
    let mut world = World::new();
    for (number, text) in CORPUS.iter().enumerate() {
        let event = json!({"id": format!("evt_{number}"), "object": "event", "type": format!("invoice.{text}"),
            "livemode": true, "created": 1_700_000_000, "api_version": text, "account": text, "data": {"object": {
            "id": text, "object": text, "status": text, "customer": text, "subscription": text, "description": text,
            "metadata": {(*text): text, "userId": text}}, "previous_attributes": {(*text): text, "status": text}}});
        world.store(&event, Some("misrouted")).await;
    }
    let ana = world.login(ANA).await;
    world
        .operating(async |world: &World| {
            let note: String = CORPUS.join(" ");
            let note = percent_encoding::utf8_percent_encode(&note, percent_encoding::NON_ALPHANUMERIC);
            let form = format!("action=drop&selection=entry%3D1&note={note}");
            let given = world.send(&ana, "/console/orders", &form).await;
            assert_eq!(given.status, 303, "{}", given.text);
            world.control.operations.ended(1).await;
            let mut pages = vec![
                "/console".to_owned(),
                "/console/entries".to_owned(),
                "/console/problems".to_owned(),
                "/console/operations/1".to_owned(),
                "/console/orders?action=release&state=quarantined".to_owned(),
                format!("/console/entries?type={note}&code={note}"),
                format!("/console/search?q={note}"),
                format!("/console/orders?action={note}"),
                format!("/console/login?code={note}&next={note}"),
            ];
            pages.extend((1..=CORPUS.len()).map(|entry| format!("/console/entries/{entry}")));
            for path in pages {
                let answer = world.page(&ana, &path).await;
                assert!(answer.header("content-security-policy").contains("script-src 'self'"), "{path}");
                assert_inert(&answer.text, &path);
            }
            for entry in 1..=CORPUS.len() {
                let path = format!("/console/entries/{entry}/reveal");
                let revealed = world.send(&ana, &path, "reason=x").await;
                assert!(
                    revealed.text.contains("&#60;") || revealed.text.contains("&#39;"),
                    "it is there, as text: {}",
                    revealed.text
                );
                assert_inert(&revealed.text, &path);
            }
        })
        .await;
}
