//! Random lives of an inbox with several gateways, beside a model of what each entry is.
//!
//! The model does not say which entries a lease takes, but whether each of them could be taken; it knows every answer else.

use std::collections::BTreeMap;

use super::*;

/// How many lives there are, and steps in each.
const LIVES: u64 = 8;
const STEPS: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting { due: Timestamp },
    Leased { lease: u64, until: Timestamp },
    Submitted { process: String },
    Ended(StateName),
}

/// A lease that a gateway holds, or believes to hold.
struct Held {
    number: u64,
    event: String,
    lease: Lease,
}

struct World {
    gateways: Vec<Fixture>,
    random: fastrand::Rng,
    model: BTreeMap<String, State>,
    entries: BTreeMap<String, EntryId>,
    held: Vec<Held>,
    /// Events that a gateway keeps for itself, with the number of the lease.
    kept: Vec<BTreeMap<String, u64>>,
    /// Which gateways were told to keep what arrives.
    wanted: Vec<bool>,
    leases: u64,
    processes: u64,
}

/// What a gateway keeps of what it receives.
const KEPT: LeaseRequest = LeaseRequest { entries_max: 3, bytes_max: 1 << 20, duration: MINUTE };

impl World {
    fn of(gateways: Vec<Fixture>, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (model, entries) = (BTreeMap::new(), BTreeMap::new());
        let (kept, wanted) = (vec![BTreeMap::new(); gateways.len()], vec![false; gateways.len()]);
        Self { gateways, random, model, entries, held: Vec::new(), kept, wanted, leases: 0, processes: 0 }
    }

    fn gateway(&mut self) -> usize {
        self.random.usize(0..self.gateways.len())
    }

    fn is_shared(&self) -> bool {
        self.gateways[0].database.is_some()
    }

    fn now(&self) -> Timestamp {
        self.gateways[0].clock.now()
    }

    async fn step(&mut self) {
        match self.random.u32(0..100) {
            0..30 => self.append().await,
            30..55 => self.lease().await,
            55..80 => self.conclude().await,
            80..86 => self.end_process().await,
            86..94 => self.order().await,
            94..98 => self.gateways[0].clock.advance(Duration::from_secs(self.random.u64(1..90))),
            _ => self.restart(),
        }
        self.check().await;
    }

    async fn append(&mut self) {
        let (gateway, event) = (self.gateway(), format!("evt_{}", self.random.u32(0..25)));
        let wants = self.is_shared() && self.random.u32(0..3) == 0;
        if wants {
            self.gateways[gateway].inbox().keep_arrivals(KEPT);
            self.wanted[gateway] = true;
        }
        let receipt = self.gateways[gateway].append(&event).await;
        assert_eq!(receipt.is_duplicate(), self.model.contains_key(&event), "{event}");
        assert_eq!(*self.entries.entry(event.clone()).or_insert(receipt.entry()), receipt.entry());
        if receipt.is_duplicate() {
            return;
        }
        let now = self.now();
        if self.wanted[gateway] && self.kept[gateway].len() < KEPT.entries_max {
            self.leases += 1;
            self.kept[gateway].insert(event.clone(), self.leases);
            let until = now.plus(MINUTE).plus(KEEP);
            self.model.insert(event, State::Leased { lease: self.leases, until });
        } else {
            self.model.insert(event, State::Waiting { due: now });
        }
    }

    async fn lease(&mut self) {
        let (gateway, most) = (self.gateway(), self.random.usize(1..6));
        let now = self.now();
        if !self.is_shared() {
            // A file voids ended leases when it is asked for more. In a database a lease holds until another worker takes
            // the entry.
            for state in self.model.values_mut() {
                if matches!(state, State::Leased { until, .. } if *until <= now) {
                    *state = State::Waiting { due: now };
                }
            }
        }
        let leased = self.gateways[gateway].lease(most).await;
        let could = |state: &State| match state {
            State::Waiting { due } => *due <= now,
            State::Leased { until, .. } => *until <= now,
            State::Submitted { .. } | State::Ended(_) => false,
        };
        let able = self.model.values().filter(|state| could(state)).count() + self.kept[gateway].len();
        assert!(leased.len() <= most && leased.is_empty() == (able == 0), "{} of {able}", leased.len());
        for Leased { lease, event_id, .. } in leased {
            let event = event_id.to_string();
            // It may have been taken by another gateway since its time was over. Then it concludes nothing.
            if let Some(number) = self.kept[gateway].remove(&event) {
                self.held.push(Held { number, event, lease });
                continue;
            }
            assert!(could(&self.model[&event]), "{event} is {:?} at {now}", self.model[&event]);
            self.leases += 1;
            self.model.insert(event.clone(), State::Leased { lease: self.leases, until: now.plus(MINUTE) });
            self.held.push(Held { number: self.leases, event, lease });
        }
    }

    async fn conclude(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (gateway, place) = (self.gateway(), self.random.usize(0..self.held.len()));
        let Held { number, event, lease } = self.held.swap_remove(place);
        let is_held = matches!(&self.model[&event], State::Leased { lease, .. } if *lease == number);
        let (conclusion, next) = self.conclusion();
        let concluded = self.gateways[gateway].inbox().conclude(vec![(lease, conclusion)]).await.unwrap();
        if is_held {
            // A holder whose time is over and who was not replaced may conclude: only the token counts.
            assert_eq!(concluded, [Concluded::Done], "{event}");
            self.model.insert(event, next);
        } else {
            assert_eq!(concluded, [Concluded::LeaseLost], "{event}");
        }
    }

    fn conclusion(&mut self) -> (Conclusion, State) {
        let (code, reason) = (|| "x".to_owned(), || "why".to_owned());
        let after = Duration::from_secs(self.random.u64(0..30));
        let due = self.now().plus(after);
        match self.random.u32(0..7) {
            0 => (Conclusion::Dead { code: code(), reason: reason() }, State::Ended(StateName::Dead)),
            1 => (Conclusion::Quarantine { code: code(), reason: reason() }, State::Ended(StateName::Quarantined)),
            2 => (Conclusion::Retry { after, counted: true, reason: reason() }, State::Waiting { due }),
            3 => (Conclusion::AwaitStripe { after, reason: reason() }, State::Waiting { due }),
            4 => {
                self.processes += 1;
                let process = format!("p{}", self.processes);
                let submitted = Conclusion::Submitted { process: ProcessId::new(process.as_str()), poll_after: after };
                (submitted, State::Submitted { process })
            }
            _ => (Conclusion::Settle { outcome: Settled::Applied }, State::Ended(StateName::Settled)),
        }
    }

    async fn end_process(&mut self) {
        let gateway = self.gateway();
        let submitted = self.model.iter().filter_map(|(event, state)| match state {
            State::Submitted { process } => Some((event.clone(), process.clone())),
            _ => None,
        });
        let submitted: Vec<(String, String)> = submitted.collect();
        let Some((event, process)) = self.random.choice(submitted) else { return };
        let inbox = self.gateways[gateway].inbox();
        let (entry, settle) = (self.entries[&event], || Conclusion::Settle { outcome: Settled::Applied });
        let other = inbox.conclude_submitted(ProcessId::new("p0"), vec![(entry, settle())]).await.unwrap();
        assert_eq!(other, [Concluded::LeaseLost]);
        let ended = inbox.conclude_submitted(ProcessId::new(process), vec![(entry, settle())]).await.unwrap();
        assert_eq!(ended, [Concluded::Done]);
        self.model.insert(event, State::Ended(StateName::Settled));
    }

    async fn order(&mut self) {
        let (gateway, events) = (self.gateway(), self.model.keys().cloned().collect::<Vec<String>>());
        let Some(event) = self.random.choice(events) else { return };
        let action = [Action::Replay, Action::Release, Action::Drop][self.random.usize(0..3)];
        let selection = Selection { entries: vec![self.entries[&event]], ..Selection::default() };
        let order = Order { action, by: None, note: None };
        let step = self.gateways[gateway].inbox().operate(&selection, &order, false, None).await.unwrap();
        let is_changed = step.changed() == 1;
        let can = match (action, &self.model[&event]) {
            (Action::Replay, State::Ended(_)) | (Action::Release, State::Ended(StateName::Quarantined)) => {
                Some(State::Waiting { due: self.now() })
            }
            (Action::Drop, State::Ended(StateName::Dead | StateName::Quarantined) | State::Waiting { .. }) => {
                Some(State::Ended(StateName::Settled))
            }
            _ => None,
        };
        assert_eq!(is_changed, can.is_some(), "{action:?} of {event}, {:?}: {step:?}", self.model[&event]);
        if let Some(next) = can {
            self.model.insert(event, next);
        }
    }

    /// A gateway dies and starts again, without what it held. A file's leases are void at once.
    fn restart(&mut self) {
        let (gateway, now) = (self.gateway(), self.now());
        self.gateways[gateway].reopen();
        self.wanted[gateway] = false;
        for (event, number) in std::mem::take(&mut self.kept[gateway]) {
            if matches!(&self.model[&event], State::Leased { lease, .. } if *lease == number) {
                self.model.insert(event, State::Waiting { due: now });
            }
        }
        if self.is_shared() {
            return;
        }
        self.held.clear();
        for state in self.model.values_mut() {
            match state {
                State::Leased { .. } => *state = State::Waiting { due: now },
                State::Waiting { due } => *due = (*due).min(now.plus(Duration::from_secs(10))),
                State::Submitted { .. } | State::Ended(_) => {}
            }
        }
    }

    async fn check(&mut self) {
        let gateway = self.gateway();
        let counts = self.gateways[gateway].counts().await;
        let of = |wanted: &dyn Fn(&State) -> bool| self.model.values().filter(|state| wanted(state)).count() as u64;
        assert_eq!(counts.submitted, of(&|state| matches!(state, State::Submitted { .. })));
        // A file voids leases when it is asked for the next ones.
        let open = of(&|state| matches!(state, State::Waiting { .. } | State::Leased { .. }));
        assert_eq!(counts.waiting + counts.leased, open);
        for name in [StateName::Settled, StateName::Dead, StateName::Quarantined] {
            assert_eq!(counts.of(name), of(&|state| *state == State::Ended(name)), "{name}");
        }
    }
}

#[tokio::test]
async fn a_gateway_alone_does_what_the_model_says() {
    for seed in 0..LIVES {
        let mut world = World::of(vec![Fixture::new()], seed);
        for _ in 0..STEPS {
            world.step().await;
        }
    }
}

#[tokio::test]
async fn three_gateways_on_one_inbox_do_what_the_model_says() {
    for seed in 0..LIVES {
        let one = Fixture::postgres().await;
        let gateways = vec![one.neighbour(), one.neighbour(), one];
        let mut world = World::of(gateways, seed);
        for _ in 0..STEPS {
            world.step().await;
        }
    }
}
