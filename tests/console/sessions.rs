//! How a session begins and ends.

use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use colony_gateway::config::{Config, Sources};

use crate::world::{ANA, BEN, World};

#[tokio::test]
async fn a_session_ends_after_an_hour_unseen_and_after_half_a_day() {
    let world = World::new();
    let mut ana = world.login(ANA).await;
    let minutes = |minutes| Duration::from_mins(minutes);
    world.clock.advance(minutes(59));
    let seen = world.page(&ana, "/console/problems").await;
    assert_eq!(seen.status, StatusCode::OK);
    ana = seen.cookie();
    world.clock.advance(minutes(59));
    let part = world.page(&ana, "/console/problems?live=x").await;
    assert_eq!((part.status, part.cookie().as_str()), (StatusCode::OK, ""), "a page alone keeps no session alive");
    world.clock.advance(minutes(1));
    assert_eq!(world.page(&ana, "/console/problems").await.status, StatusCode::SEE_OTHER);

    let mut ben = world.login(BEN).await;
    for _ in 0..23 {
        world.clock.advance(minutes(30));
        ben = world.page(&ben, "/console/problems").await.cookie();
        assert!(ben.contains("ben"), "{ben}");
    }
    world.clock.advance(minutes(30));
    assert_eq!(world.page(&ben, "/console/problems").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_is_one_operators_and_ends_with_that_operators_token() {
    let world = World::new();
    let (ana, ben) = (world.login(ANA).await, world.login(BEN).await);
    for forged in
        [ana.replace("=ana:", "=ben:"), ben.replace("=ben:", "=ana:"), format!("{ana}0"), ana.replace('7', "8")]
    {
        let status = world.page(&forged, "/console/problems").await.status;
        assert!(status == StatusCode::SEE_OTHER || forged == ana, "{forged}");
    }
    let replaced = format!("ana operator token-of-ana-replaced, ben viewer {BEN}");
    let environment =
        [("STRIPE_WEBHOOK_SECRET".to_owned(), "whsec_tests".to_owned()), ("GATEWAY_OPERATORS".to_owned(), replaced)];
    let config = Config::for_serve(&Sources { environment: environment.into(), file: None }).unwrap();
    assert!(world.control.operators.renew(&config.http));
    assert_eq!(world.page(&ana, "/console/problems").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.page(&ben, "/console/problems").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_operator_logs_everybody_out() {
    let world = World::new();
    let (ana, ben) = (world.login(ANA).await, world.login(BEN).await);
    assert_eq!(world.send(&ana, "/console/logout/all", "").await.status, StatusCode::SEE_OTHER);
    for cookie in [&ana, &ben] {
        assert_eq!(world.page(cookie, "/console/problems").await.status, StatusCode::SEE_OTHER);
    }
    let again = world.login(BEN).await;
    assert_eq!(world.page(&again, "/console/problems").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_link_logs_in_once_and_looking_at_it_does_not_use_it_up() {
    let world = World::new();
    let code = world.control.operators.codes.issue("ana".into()).unwrap();
    for _ in 0..2 {
        let page = world.ask(Method::GET, &code.path, &[], "").await;
        assert!(page.status == StatusCode::OK && page.text.contains("data-submit-now"), "{}", page.text);
    }
    let form = format!("code={}&next=/console/problems", code.code);
    let first = world.send("", "/console/login", &form).await;
    assert!(first.header(header::LOCATION).contains("next=%2Fconsole%2Fproblems"), "{first:?}");
    assert_eq!(world.page(&first.cookie(), "/console/problems").await.status, StatusCode::OK);
    let second = world.send("", "/console/login", &form).await;
    assert_eq!((second.status, second.cookie().as_str()), (StatusCode::UNAUTHORIZED, ""));
    assert!(second.text.contains("was used before"), "{}", second.text);
}

#[tokio::test]
async fn a_login_that_fails_says_what_is_wrong() {
    let world = World::new();
    let wrong = world.send("", "/console/login", "token=nobody").await;
    assert!(wrong.status == StatusCode::UNAUTHORIZED && wrong.text.contains("GATEWAY_OPERATORS"), "{}", wrong.text);
    let lost = world.ask(Method::GET, "/console/login?kept=1", &[], "").await;
    assert!(lost.text.contains("did not keep"), "{}", lost.text);
    let ana = world.login(ANA).await;
    let kept = world.page(&ana, "/console/login?kept=1&next=%2Fconsole%2Fproblems").await;
    assert_eq!(kept.header(header::LOCATION), "/console/problems");
}

#[tokio::test]
async fn no_token_goes_unencrypted_to_another_machine() {
    let form = format!("token={ANA}");
    let own = ("sec-fetch-site", "same-origin");
    let headers = [("host", "gateway.lan:9090"), own];
    let world = World::new();
    let answer = world.ask(Method::POST, "/console/login", &headers, &form).await;
    assert_eq!((answer.status, answer.cookie().as_str()), (StatusCode::FORBIDDEN, ""));
    let page = world.ask(Method::GET, "/console/login", &headers, "").await.text;
    assert!(page.contains("ssh -L") && !page.contains("type=\"password\""), "{page}");

    let behind_tls = [("host", "gateway.lan"), own, ("x-forwarded-proto", "https")];
    let answer = world.ask(Method::POST, "/console/login", &behind_tls, &form).await;
    let cookie = answer.header(header::SET_COOKIE);
    assert!(cookie.starts_with("colony_console_0=ana:") && cookie.ends_with("; Secure"), "{cookie}");
    let here = world.send("", "/console/login", &form).await;
    let cookie = here.header(header::SET_COOKIE);
    assert!(cookie.starts_with("colony_console_9090=") && !cookie.contains("Secure"), "a browser would not send it");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/console"));

    let allowed = World::with(&[("GATEWAY_ALLOW_PLAINTEXT", "console")]);
    let answer = allowed.ask(Method::POST, "/console/login", &headers, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}
