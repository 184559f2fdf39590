//! A thin-only installation: events name objects, and what is written is what Stripe holds when it is asked. A simulated
//! history, delivered in disorder and with doubles, ends in what its stories add up to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::stripe::simulator::{Expected, Options, SPAN, SimulatedEvent, Simulator, Tier};

use crate::api::client;
use crate::merge::Record;
use crate::story::START;
use crate::stripe_api::StripeStandIn;

/// Events that come between two moments at which Stripe is asked.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn a_history_of_thin_events_ends_in_what_its_stories_add_up_to() {
    let stand_in = StripeStandIn::start().await;
    let clock = Clock::manual(Timestamp::from_seconds(START));
    stand_in.keep_time(&clock);
    let prices = [Tier::Bronze, Tier::Silver, Tier::Gold].map(|tier| (tier.price_id(), tier.as_str()));
    let settings =
        Settings { tiers: Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap(), ..Settings::default() };
    let validator = Validator::new(settings, Arc::new(Guardian::default()), clock.clone())
        .with_stripe(Arc::new(client(&stand_in, &clock)));
    let options = Options {
        seed: 12,
        users: NonZeroU32::new(3).unwrap(),
        api_version: None,
        start: clock.now().minus(SPAN),
        livemode: false,
        account: None,
    };
    let events: Vec<SimulatedEvent> = Simulator::thin(options).take(160).collect();
    let (mut record, mut expected, mut random) = (Record::default(), Expected::default(), fastrand::Rng::with_seed(4));
    for happened in events.chunks(AT_ONCE) {
        for event in happened {
            expected.learn(event);
            if let Some(held) = &event.held {
                stand_in.put(&held.path, held.content.clone());
            }
        }
        let mut bodies: Vec<Bytes> = happened.iter().map(|event| event.body.clone()).collect();
        bodies.push(bodies[0].clone());
        random.shuffle(&mut bodies);
        for verdict in validator.validate(&bodies).await {
            match verdict {
                Verdict::Apply(plan) => record.apply(&plan),
                Verdict::Ignore { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        clock.advance(Duration::from_secs(2));
    }
    let wanted: BTreeMap<&str, i64> =
        expected.revenue().into_iter().map(|(currency, sum)| (currency, sum.paid - sum.refunded)).collect();
    assert_eq!(record.net(), wanted.values().sum::<i64>(), "{wanted:?}");
    let mut seen = 0;
    for user in expected.users() {
        for subscription in &user.subscriptions {
            let row = &record.subscriptions[&subscription.id];
            assert_eq!(
                (row.status.as_str(), row.tier.as_deref()),
                (subscription.status.as_str(), Some(subscription.tier.as_str()))
            );
            if user.bound {
                assert_eq!(record.owner(&row.id, &user.customer_id), Some(user.user_id.as_str()));
            }
            seen += 1;
        }
    }
    assert!(seen > 2, "{seen} subscriptions");
}
