//! Jobs of the gateway: what a bee gets from the server is what was attested, plain or sealed, and nobody else can submit it. On
//! the embedded server, and on the one that `COLONIES_TEST_URL` names.

use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::job::attestation::{Rejection, Signer, Trust, Verifier};
use colony_gateway::job::keys::opening::Openers;
use colony_gateway::job::sealing::{OpeningKey, Recipients};
use colony_gateway::job::{self, JobRejection, Reader, Sender, Terms};

use crate::world::{KIND, Target, World};

const EVENT: &str = r#"{"id":"evt_1","note":"wörld \u2028 <b>&","amount":9007199254740993,"big":1e3}"#;

#[tokio::test]
async fn a_job_of_the_gateway_comes_back_as_it_was_attested() {
    for target in Target::all().await {
        comes_back(World::on(&target).await).await;
    }
}

async fn comes_back(world: World) {
    let (signer, ledger, bee) = (Signer::generate().unwrap(), LedgerId::draw().unwrap(), world.bee("bee").await);
    let terms = Terms::new(world.colony.clone(), KIND);
    let key = OpeningKey::generate().unwrap();
    let bees = Recipients::new(vec![key.public().clone()]).unwrap();
    let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).unwrap();
    let openers = Openers::given(&key.to_hex()).unwrap();
    let reader = Reader { colony: &world.colony, ledger: &ledger, verifier: &verifier, openers: &openers };
    let submitter = world.user.id().as_str();
    for recipients in [None, Some(&bees)] {
        let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter, recipients };
        for events in [vec![EVENT], vec![EVENT; 3], vec![]] {
            let now = Clock::system().now();
            let spec = match events.as_slice() {
                [] => job::rehearsal(&sender, now).unwrap(),
                events => job::seal(&sender, events, now).unwrap(),
            };
            let submitted = world.user.submit(spec.clone()).await.unwrap();
            let taken = bee.take().await;
            assert_eq!((&taken.processid, &taken.spec.kwargs), (&submitted.processid, &spec.kwargs));
            let opened = job::open(&taken, &reader, now).unwrap();
            assert_eq!(opened.events.iter().map(|event| event.get()).collect::<Vec<_>>(), events);
            assert_eq!(
                taken.spec.args.iter().any(|arg| arg.to_string().contains("evt_1")),
                recipients.is_none() && events.len() == 1
            );
            bee.calls.close_successful(&taken.id(), Vec::new()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_job_of_the_gateway_that_another_member_submits_is_not_believed() {
    for target in Target::all().await {
        is_not_believed(World::on(&target).await).await;
    }
}

async fn is_not_believed(world: World) {
    let (signer, ledger, bee) = (Signer::generate().unwrap(), LedgerId::draw().unwrap(), world.bee("bee").await);
    let terms = Terms::new(world.colony.clone(), KIND);
    let verifier = Verifier::new(Trust::new(vec![signer.public().clone()])).unwrap();
    let openers = Openers::given(&OpeningKey::generate().unwrap().to_hex()).unwrap();
    let reader = Reader { colony: &world.colony, ledger: &ledger, verifier: &verifier, openers: &openers };
    let submitter = world.user.id().as_str();
    let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter, recipients: None };
    let now = Clock::system().now();
    let spec = job::seal(&sender, &[EVENT], now).unwrap();
    bee.calls.submit(spec.clone()).await.unwrap();
    let refused = job::open(&bee.take().await, &reader, now).unwrap_err();
    assert!(matches!(refused, JobRejection::Attestation(Rejection::OtherSubmitter)), "{refused}");
    for _ in 0..2 {
        world.user.submit(spec.clone()).await.unwrap();
    }
    job::open(&bee.take().await, &reader, now).unwrap();
    let refused = job::open(&bee.take().await, &reader, now).unwrap_err();
    assert!(matches!(refused, JobRejection::Attestation(Rejection::Replayed)), "{refused}");
}
