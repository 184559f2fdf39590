//! Every route by role and method.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};

use crate::world::{ANA, BEN, HOST, PERSONAL, World};

/// Every path that a page links to, for an inbox with one held entry.
const PAGES: [&str; 27] = [
    "/console",
    "/console/",
    "/console?span=24h",
    "/console/entries",
    "/console/entries?state=quarantined&type=customer.*",
    "/console/entries/1",
    "/console/problems",
    "/console/orders?action=release&entry=1",
    "/console/orders?action=drop&state=quarantined",
    "/console/operations/1",
    "/console/people/cus_1",
    "/console/people/sub_1",
    "/console/revenue",
    "/console/revenue?book=live.cad.own&days=90",
    "/console/subscriptions",
    "/console/subscriptions?list=idle",
    "/console/subscriptions.csv",
    "/console/entries.csv",
    "/console/operations",
    "/console/colony",
    "/console/guardian?entry=1",
    "/console/reconcile",
    "/console/shadow",
    "/console/keys",
    "/console/settings?q=http",
    "/console/audit",
    "/console/nothing",
];

const CHANGES: [(&str, &str); 13] = [
    ("/console/entries/1/reveal", "reason=ticket"),
    ("/console/people/cus_1/reveal", "reason=ticket"),
    ("/console/orders", "action=release&selection=entry%3D1"),
    ("/console/operations/1/stop", ""),
    ("/console/colony/route", "wish=direct"),
    ("/console/colony/resume", ""),
    ("/console/colony/breakers/colony", "wish=open"),
    ("/console/reconcile", "what=all&run=now"),
    ("/console/guardian/try", "entry=1"),
    ("/console/settings/check", ""),
    ("/console/logout/all", ""),
    ("/console/nothing", ""),
    ("/console/entries", ""),
];

#[tokio::test]
async fn without_a_session_there_is_the_login_alone() {
    let world = World::new();
    world.store_personal("evt_1", Some("misrouted")).await;
    for path in PAGES.iter().chain(&["/console/search?q=1"]) {
        let answer = world.ask(Method::GET, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.header(header::LOCATION).starts_with("/console/login?next="), "{path}");
        let part = world.ask(Method::GET, path, &[("hx-request", "true")], "").await;
        assert_eq!((part.status, part.header("hx-redirect")), (StatusCode::UNAUTHORIZED, "/console/login"), "{path}");
    }
    let searched = world.ask(Method::GET, "/console/search?q=user_of_ada", &[], "").await;
    assert_eq!(searched.header(header::LOCATION), "/console/login?next=%2Fconsole%2Fsearch", "users are in no address");
    for (path, form) in CHANGES {
        assert_eq!(world.send("", path, form).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let mut bearer = vec![("authorization", "Bearer token-of-ana-0123456789"), ("sec-fetch-site", "same-origin")];
    let answer = world.ask(Method::POST, "/console/orders", &bearer, "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "a token is for the admin API");
    bearer.truncate(1);
    assert_eq!(world.ask(Method::GET, "/console/entries", &bearer, "").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_viewer_sees_every_page_masked_and_changes_nothing() {
    let mut world = World::new();
    world.store_personal("evt_1", Some("misrouted")).await;
    world.subscribe().await;
    let (ana, ben) = (world.login(ANA).await, world.login(BEN).await);
    let ana = &*ana;
    world
        .operating(async |world: &World| {
            let given = world.send(ana, "/console/orders", "action=drop&note=x&selection=entry%3D99").await;
            assert_eq!(given.status, StatusCode::SEE_OTHER, "{}", given.text);
            for path in PAGES {
                for cookie in [ana, &ben] {
                    let answer = world.page(cookie, path).await;
                    let expected = if path.ends_with("nothing") { StatusCode::NOT_FOUND } else { StatusCode::OK };
                    assert_eq!(answer.status, expected, "{path}: {}", answer.text);
                    for personal in PERSONAL {
                        assert!(!answer.text.contains(personal), "{personal} stands in {path}");
                    }
                }
                let viewed = world.page(&ben, path).await.text;
                assert!(!viewed.contains("href=\"/console/orders?action"), "{path} offers a viewer an order");
            }
            for (path, form) in CHANGES {
                let answer = world.send(&ben, path, form).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            }
            for by_user in [
                "entries?user=user_of_ada",
                "entries?ref=user_of_ada",
                "entries.csv?user=user_of_ada",
                "search?q=user_of_ada",
            ] {
                let answer = world.page(&ben, &format!("/console/{by_user}")).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "whose an event is, is hidden from him: {by_user}");
            }
            assert_eq!(world.inbox.counts().await.unwrap().quarantined, 1, "nothing has changed");
            assert_eq!(world.send(&ben, "/console/theme", "theme=dark").await.status, StatusCode::SEE_OTHER);
            assert_eq!(world.send(&ben, "/console/logout", "").await.status, StatusCode::SEE_OTHER);
        })
        .await;
}

#[tokio::test]
async fn an_operator_reveals_with_a_reason_and_never_by_a_link() {
    let world = World::new();
    world.store_personal("evt_1", None).await;
    let ana = world.login(ANA).await;
    let refused = world.send(&ana, "/console/entries/1/reveal", "reason=+").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let revealed = world.send(&ana, "/console/entries/1/reveal", "reason=ticket+17").await;
    assert_eq!((revealed.status, revealed.header(header::CACHE_CONTROL)), (StatusCode::OK, "no-store"));
    for personal in PERSONAL {
        assert!(revealed.text.contains(personal), "{personal} is not there");
    }
    assert!(
        revealed.text.contains(r#"name="next" value="/console/entries/1""#),
        "the colours lead to what can be opened"
    );
    for path in ["/console/entries/1?reveal=true", "/console/entries?reveal=true", "/console/entries/1/reveal"] {
        let text = world.page(&ana, path).await.text;
        assert!(PERSONAL.iter().all(|personal| !text.contains(personal)), "{path}");
    }
}

#[tokio::test]
async fn an_order_has_a_dry_run_a_result_and_an_undo() {
    let mut world = World::new();
    world.store_personal("evt_1", Some("misrouted")).await;
    world.store_personal("evt_2", Some("misrouted")).await;
    world.store_personal("evt_3", None).await;
    let ana = world.login(ANA).await;
    world
        .operating(async |world: &World| {
            let preview = world.page(&ana, "/console/orders?action=drop&state=quarantined,waiting&type=").await.text;
            assert!(preview.contains("<b>3</b> of 3"), "{preview}");
            let preview = world.page(&ana, "/console/orders?action=replay&entry=1,3").await.text;
            assert!(preview.contains("<b>0</b> of 2") && preview.contains("on its way already"), "{preview}");
            assert_eq!(world.inbox.counts().await.unwrap().quarantined, 2, "a look changes nothing");

            let order = "action=drop&selection=state%3Dquarantined";
            assert_eq!(world.send(&ana, "/console/orders", order).await.status, StatusCode::BAD_REQUEST, "no reason");
            let given = world.send(&ana, "/console/orders", &format!("{order}&note=not+ours")).await;
            assert_eq!(given.header(header::LOCATION), "/console/operations/1");
            world.control.operations.ended(1).await;
            let result = world.page(&ana, "/console/operations/1").await.text;
            assert!(result.contains("<b>done</b>: 2 changed of 2") && result.contains("not ours"), "{result}");
            assert!(result.contains("undo=1"), "{result}");
            assert_eq!(world.inbox.counts().await.unwrap().quarantined, 0);
            let undo = world.page(&ana, "/console/orders?action=replay&undo=1").await.text;
            assert!(undo.contains("<b>2</b> of 2"), "{undo}");
            let entry = world.page(&ana, "/console/entries/1").await.text;
            assert!(entry.contains("Ordered: drop by ana: not ours"), "{entry}");
            let all = world.send(&ana, "/console/orders", "action=replay").await;
            assert_eq!(all.status, StatusCode::BAD_REQUEST, "an order names what it means");
        })
        .await;
}

#[tokio::test]
async fn what_did_not_come_from_a_page_of_the_console_is_refused() {
    let world = World::new();
    let ana = world.login(ANA).await;
    let foreign: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9090")],
        &[("origin", "http://evil.example")],
        &[],
    ];
    for headers in foreign {
        for path in ["/console/login", "/console/logout", "/console/orders", "/console/theme"] {
            let headers = [headers, &[("cookie", ana.as_str())]].concat();
            let form = format!("token={ANA}");
            let answer = world.ask(Method::POST, path, &headers, &form).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert_eq!(answer.header(header::SET_COOKIE), "", "{path}");
        }
    }
    let origin = format!("http://{HOST}");
    let own = [("origin", origin.as_str()), ("cookie", ana.as_str())];
    let answer = world.ask(Method::POST, "/console/theme", &own, "theme=dark&next=/console/problems").await;
    assert_eq!(answer.header(header::LOCATION), "/console/problems");
    let named = [("host", "evil.example:9090"), ("cookie", ana.as_str())];
    let answer = world.ask(Method::GET, "/console/entries", &named, "").await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn every_answer_keeps_a_browser_to_the_gateway() {
    let world = World::new();
    let ana = world.login(ANA).await;
    for path in ["/console/login", "/console/entries", "/console/nothing", "/console/assets/0/console.css"] {
        let answer = world.page(&ana, path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let page = world.page(&ana, "/console/entries").await.text;
    let assets: Vec<&str> = page.split('"').filter(|part| part.starts_with("/console/assets/")).collect();
    assert!(assets.len() >= 4, "{page}");
    for path in assets {
        let answer = world.ask(Method::GET, path, &[], "").await;
        assert_eq!((answer.status, answer.header("cache-control").contains("immutable")), (StatusCode::OK, true));
        let tag = answer.header(header::ETAG).to_owned();
        let again = world.ask(Method::GET, path, &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
    }
}

#[tokio::test]
async fn a_list_stays_as_it_is_and_counts_what_is_new() {
    let world = World::new();
    for number in 1..=3 {
        world.store_personal(&format!("evt_{number}"), None).await;
    }
    let ana = world.login(ANA).await;
    let page = world.page(&ana, "/console/entries?limit=2").await.text;
    let live = page.split("hx-get=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    assert_eq!(world.page(&ana, &live).await.status, StatusCode::NO_CONTENT, "{live}");
    world.store_personal("evt_4", None).await;
    let renewed = world.page(&ana, &live).await;
    assert_eq!(renewed.status, StatusCode::OK);
    assert!(renewed.text.contains("1 new") && !renewed.text.contains("evt_4"), "{}", renewed.text);
    assert!(renewed.text.contains("evt_3") && renewed.text.contains("evt_2"), "{}", renewed.text);
    assert!(page.contains("Older entries"), "{page}");
}

#[tokio::test]
async fn an_id_leads_to_what_it_names() {
    let world = World::new();
    world.store_personal("evt_1", None).await;
    world.subscribe().await;
    let ana = world.login(ANA).await;
    for (wanted, location) in [
        ("1", "/console/entries/1"),
        ("%231", "/console/entries/1"),
        ("evt_1", "/console/entries/1"),
        ("evt_9", "/console/entries?event=evt_9"),
        ("cus_1", "/console/people/cus_1"),
        ("sub_1", "/console/people/sub_1"),
        ("user_of_ada", "/console/people/cus_1"),
        ("USER_OF_NOBODY", ""),
        ("in_9", "/console/entries?ref=in_9"),
        ("", "/console/entries"),
    ] {
        let answer = world.page(&ana, &format!("/console/search?q={wanted}")).await;
        assert_eq!(answer.header(header::LOCATION), location, "{wanted}");
    }
    assert_eq!(world.page(&ana, "/console/search?q=9").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.page(&ana, "/console/search?q=ada%40example.com").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_person_is_explained_and_named_only_once_revealed() {
    let world = World::new();
    world.store_personal("evt_1", Some("misrouted")).await;
    world.subscribe().await;
    let ana = world.login(ANA).await;
    let page = world.page(&ana, "/console/people/cus_1").await.text;
    assert!(page.contains("Access, by one subscription.") && page.contains("sub_1"), "{page}");
    assert!(page.contains("/console/entries/1"), "what the inbox has of the customer: {page}");
    assert!(page.contains("999") || page.contains("9.99"), "the money: {page}");
    assert_eq!(
        world.page(&ana, "/console/people/user_of_ada").await.status,
        StatusCode::NOT_FOUND,
        "no user in addresses"
    );
    assert_eq!(world.send(&ana, "/console/people/cus_1/reveal", "reason=").await.status, StatusCode::BAD_REQUEST);
    let revealed = world.send(&ana, "/console/people/cus_1/reveal", "reason=ticket+17").await;
    assert!(revealed.status == StatusCode::OK && revealed.text.contains("user_of_ada"), "{}", revealed.text);
    assert_eq!(revealed.header(header::CACHE_CONTROL), "no-store");
    let nobody = world.page(&ana, "/console/people/cus_9").await.text;
    assert!(nobody.contains("No access: there is no subscription for this id."), "{nobody}");
}

#[tokio::test]
async fn money_is_shown_book_by_book_and_kept_as_a_file() {
    let world = World::new();
    let ana = world.login(ANA).await;
    let nothing = world.page(&ana, "/console/revenue.csv?what=recurring").await.text;
    assert!(nothing.lines().nth(1).is_some_and(|line| line.ends_with(",live,,,,0,0")), "today has a line: {nothing}");
    world.subscribe().await;
    let page = world.page(&ana, "/console/revenue?days=90").await.text;
    let days = page.split("id=\"table-money\"").nth(1).and_then(|rest| rest.split("</table>").next()).unwrap();
    assert_eq!(days.matches("data-label=\"Day\"").count(), 90, "the table has the days of the chart");
    assert!(page.contains("Live CAD") && page.contains("silver") && page.contains("9.99"), "{page}");
    let file = world.page(&ana, "/console/revenue.csv?what=recurring").await;
    assert_eq!(file.header(header::CONTENT_TYPE), "text/csv; charset=utf-8");
    assert!(file.header(header::CONTENT_DISPOSITION).contains("recurring-1000-days.csv"), "where it is cut");
    assert!(file.text.contains("live,,silver,cad,1,999"), "{}", file.text);
    let file = world.page(&ana, "/console/subscriptions.csv").await.text;
    assert!(file.contains("sub_1,true,,cus_1,active,true,silver,cad,999"), "{file}");
    assert_eq!(world.page(&ana, "/console/subscriptions?list=nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_of_subscriptions_has_all_pages_and_the_ledger_is_asked_for_one_at_a_time() {
    let world = World::new();
    world.subscribe_many(501).await;
    let ana = world.login(ANA).await;
    let turn = world.control.desk.exports.take().unwrap();
    let file = world.page(&ana, "/console/subscriptions.csv");
    tokio::pin!(file);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut file).await;
    assert!(early.is_err(), "another file has its turn");
    drop(turn);
    let file = file.await;
    assert_eq!((file.status, file.header(header::CONTENT_TYPE)), (StatusCode::OK, "text/csv; charset=utf-8"));
    let lines: Vec<&str> = file.text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 502, "a head and all rows");
    assert!(lines[0].starts_with("subscription,") && lines[1].starts_with("sub_500,"), "{} {}", lines[0], lines[1]);
    assert!(lines.iter().all(|line| line.split(',').count() == 14) && lines[501].starts_with("sub_000,"));
    world.readiness.drain();
    let refused = world.page(&ana, "/console/subscriptions.csv").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "a restart waits for no file");
}

#[tokio::test]
async fn a_file_of_entries_has_all_that_a_filter_matches_and_no_text_of_customers() {
    let world = World::new();
    for number in 0..1001 {
        world
            .store(
                &serde_json::json!({"id": format!("evt_{number}"), "object": "event", "type": "product.created"}),
                None,
            )
            .await;
    }
    world.store_personal("evt_held", Some("misrouted")).await;
    let ben = world.login(BEN).await;
    let file = world.page(&ben, "/console/entries.csv").await.text;
    let lines: Vec<&str> = file.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1003, "a head and all rows");
    assert!(lines[0].starts_with("entry,event,type,state,") && lines[1002].starts_with("1,evt_0,"), "{}", lines[1002]);
    assert!(lines[1].starts_with("1002,evt_held,customer.updated,quarantined,"), "{}", lines[1]);
    assert!(lines.iter().all(|line| line.split(',').count() == 16) && !PERSONAL.iter().any(|text| file.contains(text)));
    let held = world.page(&ben, "/console/entries.csv?state=quarantined").await.text;
    assert_eq!(held.split_terminator("\r\n").count(), 2, "{held}");
    let page = world.page(&ben, "/console/entries?state=quarantined&until=2027-01-01T00:00:00Z").await.text;
    assert!(page.contains("/console/entries.csv?state=quarantined&#38;until=2027-01-01T00%3A00%3A00Z"), "{page}");
}
