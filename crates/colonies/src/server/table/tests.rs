//! Random lives of processes, after each step of which the indexes are compared with a look at every process.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::messages::{Conditions, FunctionSpec};

const KINDS: [&str; 2] = ["t", "u"];
const EXECUTORS: [&str; 2] = ["one", "two"];

#[derive(Clone, Debug)]
enum Step {
    Submit { kind: usize, name: Option<usize>, priority: i64, maxexectime: i64, maxwaittime: i64 },
    Take { kind: usize, executor: usize },
    Expire { seconds: u64 },
    Finish { pick: usize, state: ProcessState },
    Reset { pick: usize },
    Remove { pick: usize },
    Evict { keep: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let states = prop_oneof![Just(ProcessState::Success), Just(ProcessState::Failed), Just(ProcessState::Cancelled)];
    let times = || prop_oneof![Just(-1_i64), Just(0), 1..4_i64];
    let step = prop_oneof![
        4 => (0..2_usize, prop::option::of(0..2_usize), -2..3_i64, times(), times()).prop_map(
            |(kind, name, priority, maxexectime, maxwaittime)| {
                Step::Submit { kind, name, priority, maxexectime, maxwaittime }
            }
        ),
        4 => (0..2_usize, 0..2_usize).prop_map(|(kind, executor)| Step::Take { kind, executor }),
        2 => (0..5_u64).prop_map(|seconds| Step::Expire { seconds }),
        2 => (any::<usize>(), states).prop_map(|(pick, state)| Step::Finish { pick, state }),
        1 => any::<usize>().prop_map(|pick| Step::Reset { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Remove { pick }),
        1 => (0..4_usize).prop_map(|keep| Step::Evict { keep }),
    ];
    prop::collection::vec(step, 0..60)
}

fn entry(table: &Table, step: &Step, now: Moment) -> Entry {
    let Step::Submit { kind, name, priority, maxexectime, maxwaittime } = step else { panic!("not a submission") };
    let spec = FunctionSpec {
        priority: *priority,
        maxexectime: *maxexectime,
        maxwaittime: *maxwaittime,
        conditions: Conditions {
            colonyname: "c".to_owned(),
            executortype: KINDS[*kind].to_owned(),
            executornames: name.map(|name| vec![EXECUTORS[name].to_owned()]),
            ..Conditions::default()
        },
        ..FunctionSpec::default()
    };
    Entry::submitted(spec, Default::default(), 10, now, table.next_number()).unwrap()
}

/// Picks one of the processes in the table.
fn pick(table: &Table, pick: usize) -> Option<u64> {
    let mut numbers: Vec<u64> = table.entries.keys().copied().collect();
    numbers.sort_unstable();
    if numbers.is_empty() { None } else { Some(numbers[pick % numbers.len()]) }
}

fn carry_out(table: &mut Table, step: &Step, now: &mut Moment) {
    match *step {
        Step::Submit { .. } => {
            let entry = entry(table, step, *now);
            table.insert(entry);
        }
        Step::Take { kind, executor } => {
            if let Some(number) = table.next_for("c", KINDS[kind], EXECUTORS[executor]) {
                table.change(number, |entry| entry.assign(EXECUTORS[executor], *now));
            }
        }
        Step::Expire { seconds } => {
            *now = now.plus(Duration::from_secs(seconds));
            for number in table.expired_leases(*now, usize::MAX) {
                table.change(number, |entry| entry.expire(*now));
            }
            for number in table.expired_waits(*now, usize::MAX) {
                table.change(number, |entry| entry.finish(ProcessState::Failed, *now));
            }
        }
        Step::Finish { pick: number, state } => {
            if let Some(number) = pick(table, number) {
                table.change(number, |entry| entry.finish(state, *now));
            }
        }
        Step::Reset { pick: number } => {
            let number = pick(table, number);
            let is_running = |number: &u64| table.entries[number].head.state == ProcessState::Running;
            if let Some(number) = number.filter(is_running) {
                table.change(number, Entry::reset);
            }
        }
        Step::Remove { pick: number } => {
            if let Some(number) = pick(table, number) {
                table.remove(number);
            }
        }
        Step::Evict { keep } => {
            table.evict(&Bounds { finished_processes_max: keep, ..Bounds::default() });
            assert!(table.finished.len() <= keep);
        }
    }
}

/// Compares the indexes with a look at every process.
fn check(table: &Table, now: Moment) {
    let with = |matches: &dyn Fn(&Entry) -> bool| {
        table.entries.iter().filter(|(_, entry)| matches(entry)).map(|(number, _)| *number).collect::<Vec<_>>()
    };
    for state in [
        ProcessState::Waiting,
        ProcessState::Running,
        ProcessState::Success,
        ProcessState::Failed,
        ProcessState::Cancelled,
    ] {
        assert_eq!(table.count("c", state), with(&|entry| entry.head.state == state).len());
    }
    for kind in KINDS {
        for executor in EXECUTORS {
            let may_have = |entry: &Entry| {
                entry.head.state == ProcessState::Waiting
                    && entry.spec.conditions.executortype == kind
                    && (entry.names().is_empty() || entry.names().contains(&executor.to_owned()))
            };
            let next =
                with(&may_have).into_iter().min_by_key(|number| (table.entries[number].head.prioritytime, *number));
            assert_eq!(table.next_for("c", kind, executor), next);
        }
    }
    let sorted = |mut numbers: Vec<u64>| {
        numbers.sort_unstable();
        numbers
    };
    let is_over = |second: Option<i64>| second.is_some_and(|second| second < now.seconds());
    assert_eq!(sorted(table.expired_leases(now, usize::MAX)), sorted(with(&|entry| is_over(entry.lease_second()))));
    assert_eq!(sorted(table.expired_waits(now, usize::MAX)), sorted(with(&|entry| is_over(entry.wait_second()))));
    assert_eq!(table.finished.len(), with(&|entry| entry.head.state.is_final()).len());
    assert_eq!(table.open_bytes + table.finished_bytes, 10 * table.entries.len());
    assert_eq!(table.numbers.len(), table.entries.len());
    assert_eq!(table.colonies.is_empty(), table.entries.is_empty(), "nothing is kept of what is gone");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_indexes_agree_with_the_processes_whatever_happens(steps in steps()) {
        let mut table = Table::default();
        let mut now = Moment::from_seconds(1_770_000_000);
        for step in &steps {
            carry_out(&mut table, step, &mut now);
            check(&table, now);
        }
    }
}
