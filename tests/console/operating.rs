//! The screens for operating: what they show, what they change, and what an audit keeps of it.

use axum::http::{StatusCode, header};
use colony_gateway::config::Reread;
use colony_gateway::dispatch::switch::Wish;
use colony_gateway::domain::breaker::BreakerState;
use colony_gateway::inbox::{Deed, STEP_ENTRIES_MAX};

use crate::world::{ANA, BEN, PERSONAL, World};

#[tokio::test]
async fn every_change_and_every_look_at_hidden_text_is_in_the_audit_with_who_and_why() {
    let mut world = World::new();
    world.store_personal("evt_1", Some("misrouted")).await;
    let (ana, ben) = (world.login(ANA).await, world.login(BEN).await);
    let (ana, ben) = (&*ana, &*ben);
    world
        .keeping(async |world: &mut World| {
            world.page(ana, "/console/orders?action=release&entry=1").await;
            // A viewer's looks push nothing out of what is kept.
            let looked = world.page(ben, "/console/orders?action=release&entry=1").await;
            assert_eq!(looked.status, StatusCode::OK);
            world.send(ana, "/console/entries/1/reveal", "reason=ticket+17").await;
            world.send(ana, "/console/colony/route", "wish=direct").await;
            world.send(ana, "/console/colony/breakers/colony", "wish=open").await;
            world.send(ana, "/console/reconcile", "what=all&run=dry").await;
            world.send(ana, "/console/guardian/try", "entry=1").await;
            world.send(ben, "/console/colony/route", "wish=auto").await;
            world.send(ben, "/console/people/user_of_ada/reveal", "reason=x").await;
            world.send(ana, "/console/logout/all", "").await;
            let deeds = world.deeds(11).await;
            let told: Vec<(&str, &str, &str)> = deeds
                .iter()
                .map(|Deed { who, action, what, .. }| (who.as_str(), action.as_str(), what.as_str()))
                .collect();
            let expected = [
                ("ana", "logout_all", "everybody"),
                ("ben", "refused", "/console/people/{id}/reveal"),
                ("ben", "refused", "/console/colony/route"),
                ("ana", "try_rules", "entry 1"),
                ("ana", "reconcile", "all"),
                ("ana", "breaker", "colony: open"),
                ("ana", "route", "direct"),
                ("ana", "reveal", "entry 1"),
            ];
            assert_eq!(told[..expected.len()], expected);
            assert_eq!(deeds[7].note.as_deref(), Some("ticket 17"));
            let dry = &deeds[8];
            assert_eq!((dry.action.as_str(), dry.dry_run), ("release", true));
            assert_eq!(dry.result.as_deref(), Some("would change 1 of 1"));
            assert!(
                deeds.iter().all(|deed| deed.via == "console" && !PERSONAL.iter().any(|name| deed.what.contains(name)))
            );
            assert_eq!((told.len(), told[9].1, told[10].1), (11, "login", "login"));
        })
        .await;
}

#[tokio::test]
async fn the_audit_is_shown_page_by_page_to_a_viewer_too() {
    let world = World::new();
    let ben = world.login(BEN).await;
    for number in 0..=100 {
        let (who, action, what) = ("ana".to_owned(), "drop".to_owned(), format!("<b>{number}</b>"));
        let (role, via) = ("operator".to_owned(), "api".to_owned());
        let deed = Deed { who, role, peer: None, via, action, what, dry_run: false, result: None, note: None };
        world.inbox.note_deed(deed).await.unwrap();
    }
    let page = world.page(&ben, "/console/audit").await.text;
    assert!(page.contains("&#60;b&#62;100&#60;/b&#62;") && !page.contains("<b>100</b>"), "{page}");
    assert!(!page.contains("&#62;0&#60;"), "the oldest is on the next page");
    let older = page.split("href=\"/console/audit?before=").nth(1).unwrap().split('"').next().unwrap();
    let page = world.page(&ben, &format!("/console/audit?before={older}")).await.text;
    assert!(page.contains("&#62;0&#60;") && !page.contains("href=\"/console/audit?before"), "{page}");
    assert_eq!(world.page(&ben, "/console/audit?before=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_operator_turns_the_route_and_the_breakers() {
    let world = World::new();
    let ana = world.login(ANA).await;
    let page = world.page(&ana, "/console/colony").await.text;
    assert!(page.contains("hive-1") && page.contains("Switch to the direct route"), "{page}");
    let turned = world.send(&ana, "/console/colony/route", "wish=direct").await;
    assert_eq!((turned.status, turned.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/console/colony"));
    assert_eq!(world.control.context.switch.get(), Wish::Direct);
    let (_, breaker) = &world.control.breakers[0];
    for (wish, state) in
        [("open", BreakerState::Open), ("probe", BreakerState::HalfOpen), ("closed", BreakerState::Closed)]
    {
        let turned = world.send(&ana, "/console/colony/breakers/colony", &format!("wish={wish}")).await;
        assert_eq!((turned.status, breaker.state()), (StatusCode::SEE_OTHER, state));
    }
    let page = world.page(&ana, "/console/colony").await.text;
    assert!(page.contains("Use the colony again") && page.contains("An operator has switched"), "{page}");
    for (path, form) in [
        ("/console/colony/breakers/none", "wish=open"),
        ("/console/colony/breakers/colony", "wish=broken"),
        ("/console/colony/route", "wish=colony"),
    ] {
        assert!(world.send(&ana, path, form).await.status.is_client_error(), "{path} {form}");
    }
}

#[tokio::test]
async fn rules_are_tried_on_an_event_and_stay_as_they_are() {
    let world = World::new();
    world.store_personal("evt_1", None).await;
    let ana = world.login(ANA).await;
    let held = world.send(&ana, "/console/guardian/try", "entry=1").await.text;
    assert!(held.contains("until a person releases it") && held.contains("not_expected"), "{held}");
    let rules = "%5B%5Brule%5D%5D%0Aid%3D%22one%22%0Aaction%3D%22flag%22%0Areason%3D%22seen%22%0A\
                 all%3D%5B%7Bpath%3D%22type%22%2Cequals%3D%22customer.updated%22%7D%5D";
    let flagged = world.send(&ana, "/console/guardian/try", &format!("entry=1&from=pasted&rules={rules}")).await.text;
    assert!(flagged.contains("applied and flagged") && flagged.contains("seen"), "{flagged}");
    let event = "%7B%22id%22%3A%22evt_9%22%2C%22object%22%3A%22event%22%2C%22type%22%3A%22product.created%22%2C\
                 %22created%22%3A1795280000%2C%22livemode%22%3Atrue%2C%22data%22%3A%7B%22object%22%3A%7B%22id%22%3A%22prod_1%22%2C\
                 %22object%22%3A%22product%22%7D%7D%7D";
    let passed = world.send(&ana, "/console/guardian/try", &format!("event={event}")).await.text;
    assert!(passed.contains("It would be applied.") && passed.contains("evt_9"), "{passed}");
    for (form, why) in [
        ("", "Name an entry, or paste an event."),
        ("entry=1&event=%7B%7D", "not both"),
        ("event=nonsense", "not a Stripe event"),
        ("entry=1&from=pasted", "Paste the rules"),
        ("entry=1&from=pasted&rules=nonsense", "The rules are refused"),
        ("entry=1&rules=nonsense", "Rules are pasted, and others are chosen."),
        ("entry=1&from=file", "GATEWAY_GUARDIAN_RULES names none"),
    ] {
        let page = world.send(&ana, "/console/guardian/try", form).await;
        assert!(page.status == StatusCode::OK && page.text.contains(why), "{form}: {}", page.text);
    }
    assert!(held.contains(r#"name="next" value="/console/guardian""#), "the colours lead to what can be opened");
    let turn = world.control.desk.trials.take().unwrap();
    assert_eq!(
        world.send(&ana, "/console/guardian/try", "entry=1").await.status,
        StatusCode::CONFLICT,
        "one at a time"
    );
    drop(turn);
    let guardian = world.control.desk.validator.guardian();
    assert_eq!((guardian.counts().total, guardian.latest().len()), (0, 0), "nothing was counted");
    assert!(guardian.rules().lines().iter().any(|rule| rule.id == "not_expected"), "nor put into force");
    assert!(!held.contains("Ada Lovelace"), "the body is not shown");
}

#[tokio::test]
async fn a_comparison_with_stripe_is_ordered_once_and_dry_unless_asked() {
    let mut world = World::new();
    let ana = world.login(ANA).await;
    let ordered = world.send(&ana, "/console/reconcile", "what=subscriptions").await;
    assert_eq!(ordered.header(header::LOCATION), "/console/reconcile");
    let order = world.comparisons.recv().await.unwrap();
    assert!(order.dry_run && order.what.subscriptions() && !order.what.events());
    let page = world.page(&ana, "/console/reconcile").await.text;
    assert!(page.contains("A run goes on."), "{page}");
    assert_eq!(world.send(&ana, "/console/reconcile", "what=all&run=now").await.status, StatusCode::CONFLICT);
    assert_eq!(world.send(&ana, "/console/reconcile", "what=nothing").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn settings_and_keys_are_shown_without_any_secret() {
    let world = World::with(&[("STRIPE_SECRET_KEY", "rk_test_hidden0123456789"), ("GATEWAY_SHUTDOWN_DEADLINE", "20s")]);
    let ben = world.login(BEN).await;
    let settings = world.page(&ben, "/console/settings").await.text;
    assert!(settings.contains("shutdown_deadline") && settings.contains("(default 25s)"), "{settings}");
    assert!(settings.contains("(redacted)") && !settings.contains("Check now"), "a viewer orders no report");
    let found = world.page(&ben, "/console/settings?q=SHUTDOWN&set=1").await.text;
    assert!(found.contains("shutdown_deadline") && !found.contains("http.listen"), "{found}");
    let keys = world.page(&ben, "/console/keys").await.text;
    for setting in ["STRIPE_WEBHOOK_SECRET", "STRIPE_SECRET_KEY", "GATEWAY_OPERATORS"] {
        assert!(keys.contains(setting), "{setting}: {keys}");
    }
    for page in [settings, keys] {
        for secret in ["whsec_tests", "rk_test_hidden", ANA, BEN] {
            assert!(!page.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn the_report_of_check_is_made_by_an_operator_and_seen_by_all() {
    let world = World::new();
    let (ana, ben) = (world.login(ANA).await, world.login(BEN).await);
    assert!(world.page(&ben, "/console/settings").await.text.contains("No report was made"));
    let made = world.send(&ana, "/console/settings/check", "").await;
    assert_eq!(made.header(header::LOCATION), "/console/settings#check");
    let seen = world.page(&ben, "/console/settings").await.text;
    assert!(seen.contains("rotate <code>STRIPE_SECRET_KEY</code>") && seen.contains("▲"), "{seen}");
    assert!(seen.contains("cannot be asked without STRIPE_SECRET_KEY"), "{seen}");
}

#[tokio::test]
async fn a_dry_run_of_many_entries_is_one_line_of_the_audit() {
    let mut world = World::new();
    for number in 0..=STEP_ENTRIES_MAX {
        world.store_personal(&format!("evt_{number}"), None).await;
    }
    let ana = &*world.login(ANA).await;
    world
        .keeping(async |world: &mut World| {
            let preview = world.page(ana, "/console/orders?action=drop&state=waiting").await.text;
            assert!(preview.contains("<b>201</b> of 201"), "{preview}");
            world.send(ana, "/console/logout/all", "").await;
            let deeds = world.deeds(3).await;
            let told: Vec<&str> = deeds.iter().map(|deed| deed.action.as_str()).collect();
            assert_eq!(told, ["logout_all", "drop", "login"]);
            assert_eq!(deeds[1].result.as_deref(), Some("would change 201 of 201"));
        })
        .await;
}

#[tokio::test]
async fn what_was_read_and_waits_for_a_restart_is_not_shown_as_in_force() {
    let (old, new) = ("rk_test_hidden0123456789", "rk_test_another0123456789");
    let world = World::with(&[("STRIPE_SECRET_KEY", old)]);
    let ben = world.login(BEN).await;
    let keys = async || {
        let keys = world.control.keys().await.unwrap();
        keys.into_iter().find(|key| key.setting == "STRIPE_SECRET_KEY").unwrap().fingerprint
    };
    let before = keys().await;
    let settings = &world.control.desk.settings;
    let changed = World::settings(&[("STRIPE_SECRET_KEY", new), ("GATEWAY_MODE", "shadow")]);
    settings.note(Reread { refused: Some("the key".to_owned()), ..Reread::default() }, Some(changed.clone()));
    // The gateway writes all tables until it starts anew.
    let page = world.page(&ben, "/console/reconcile").await.text;
    assert!(page.contains("Off: the public tables are written") && !page.contains("Shadow mode:"), "{page}");
    let page = world.page(&ben, "/console/settings?q=GATEWAY_MODE").await.text;
    assert!(page.contains("shadow after a restart"), "{page}");
    assert_eq!(keys().await, before, "the refused key is not in use");
    settings.note(Reread { taken: vec!["STRIPE_SECRET_KEY"], ..Reread::default() }, Some(changed));
    assert_ne!(keys().await, before);
}
