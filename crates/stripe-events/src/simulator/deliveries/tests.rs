//! What the driver and the tests rely on about deliveries.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::super::{Options, Simulator};
use super::*;

const EVENTS: usize = 600;

fn planned(options: DeliveryOptions) -> Vec<Delivery> {
    let users = NonZeroU32::new(20).expect("twenty is not zero");
    let start = Timestamp::from_seconds(1_750_000_000);
    let simulator =
        Simulator::new(Options { seed: 1, users, api_version: None, start, livemode: false, account: None });
    Deliveries::new(simulator.take(EVENTS), options).collect()
}

fn share(deliveries: &[Delivery], wanted: impl Fn(Role) -> bool) -> f64 {
    let count = deliveries.iter().filter(|delivery| wanted(delivery.role)).count();
    f64::from(u32::try_from(count).expect("a small count")) / f64::from(u32::try_from(EVENTS).expect("small"))
}

#[test]
fn without_options_every_event_is_delivered_once_and_in_order() {
    let deliveries = planned(DeliveryOptions::default());
    assert_eq!(deliveries.len(), EVENTS);
    assert!(deliveries.iter().all(|delivery| delivery.role == Role::Genuine));
    assert!(deliveries.is_sorted_by_key(|delivery| delivery.event.created));
}

#[test]
fn every_event_is_delivered_genuinely_once_whatever_comes_with_it() {
    let options =
        DeliveryOptions { duplicates: 0.3, bad_signatures: 0.2, out_of_order: 50, ..DeliveryOptions::default() };
    let deliveries = planned(options);
    let mut genuine: HashMap<&str, u32> = HashMap::new();
    for delivery in deliveries.iter().filter(|delivery| delivery.role == Role::Genuine) {
        *genuine.entry(delivery.event.id.as_str()).or_default() += 1;
    }
    assert_eq!(genuine.len(), EVENTS);
    assert!(genuine.values().all(|count| *count == 1));
    assert!((0.23..0.37).contains(&share(&deliveries, |role| role == Role::Duplicate)));
    assert!((0.13..0.27).contains(&share(&deliveries, |role| matches!(role, Role::Forged(_)))));
}

#[test]
fn disorder_stays_within_its_window() {
    let straight: Vec<Delivery> = planned(DeliveryOptions::default());
    let place: HashMap<&str, usize> =
        straight.iter().enumerate().map(|(at, delivery)| (delivery.event.id.as_str(), at)).collect();
    let moved = planned(DeliveryOptions { out_of_order: 32, ..DeliveryOptions::default() });
    let distances: Vec<usize> =
        moved.iter().enumerate().map(|(at, delivery)| place[delivery.event.id.as_str()].abs_diff(at)).collect();
    assert!(distances.iter().all(|distance| *distance < 32));
    assert!(distances.iter().any(|distance| *distance > 16));
}

#[test]
fn the_window_of_disorder_is_bounded() {
    let mut deliveries = Deliveries::new(
        planned(DeliveryOptions::default()).into_iter().map(|delivery| delivery.event).cycle(),
        DeliveryOptions { out_of_order: usize::MAX, ..DeliveryOptions::default() },
    );
    assert!(deliveries.next().is_some());
    assert_eq!(deliveries.window.len(), OUT_OF_ORDER_MAX - 1);
}

#[test]
fn duplicates_follow_within_their_lag() {
    let deliveries = planned(DeliveryOptions { duplicates: 1.0, ..DeliveryOptions::default() });
    assert_eq!(deliveries.len(), 2 * EVENTS);
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (at, delivery) in deliveries.iter().enumerate() {
        match delivery.role {
            Role::Genuine => assert_eq!(first.insert(delivery.event.id.as_str(), at), None),
            _ => assert!(at > first[delivery.event.id.as_str()], "a duplicate came before its original"),
        }
    }
}

#[test]
fn forgeries_are_to_be_refused_and_everything_else_accepted() {
    let deliveries = planned(DeliveryOptions { bad_signatures: 1.0, ..DeliveryOptions::default() });
    let secrets = ["whsec_one", "whsec_two"];
    let now = Timestamp::from_seconds(1_760_000_000);
    for forgery in Forgery::ALL {
        let forged = deliveries.iter().find(|delivery| delivery.role == Role::Forged(forgery)).expect("all occur");
        assert_eq!(forged.expectation(), Expectation::Refused);
        let true_header = sign_all(&secrets, now, &forged.body());
        assert_ne!(forged.signature(&secrets, now), Some(true_header), "{forgery:?} is signed truly");
    }
    let genuine = deliveries.iter().find(|delivery| delivery.role == Role::Genuine).expect("there are some");
    assert_eq!(genuine.expectation(), Expectation::Accepted);
    assert_eq!(genuine.signature(&secrets, now), Some(sign_all(&secrets, now, &genuine.event.body)));
}

#[test]
fn signatures_older_than_the_tolerance_are_to_be_refused() {
    let aged = |seconds| planned(DeliveryOptions { age: Duration::from_secs(seconds), ..DeliveryOptions::default() });
    assert_eq!(aged(200)[0].expectation(), Expectation::Accepted);
    assert_eq!(aged(301)[0].expectation(), Expectation::Refused);
    let now = Timestamp::from_seconds(1_760_000_000);
    let header = aged(200)[0].signature(&["whsec_one"], now).expect("it is signed");
    assert!(header.starts_with("t=1759999800,"), "{header}");
}
