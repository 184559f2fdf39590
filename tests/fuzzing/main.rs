//! The fuzzer's targets over their seeds and simple mutations of them: what runs where no fuzzer is.
//!
//! `COLONY_GATEWAY_FUZZ_SEEDS` names a directory that the seeds are written to, for the fuzzer.

#[path = "../../fuzz/targets.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzzer, a crate of its own")]
mod targets;

use std::path::PathBuf;

use targets::{TARGETS, Target};

/// Mutations of each seed.
const MUTATIONS: usize = 40;

/// One to four small changes: bytes and bits changed, pieces removed, repeated or taken from another seed.
fn mutate(seed: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len().min(at + 16));
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = random.usize(..=other.len());
                bytes.splice(at..end, other[from..other.len().min(from + 16)].iter().copied());
            }
            _ => bytes.truncate(bytes.len() - (bytes.len() - at) / 8),
        }
    }
    bytes
}

fn run((name, target, seeds): Target) {
    let seeds = seeds();
    let mut random = fastrand::Rng::with_seed(1);
    for (number, seed) in seeds.iter().enumerate() {
        target(seed);
        for _ in 0..MUTATIONS {
            let other = &seeds[random.usize(..seeds.len())];
            let input = mutate(seed, other, &mut random);
            let shown = String::from_utf8_lossy(&input).into_owned();
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "target {name}, seed {number}: {shown:?}");
        }
    }
}

#[test]
fn no_bytes_break_what_is_fuzzed() {
    TARGETS.into_iter().for_each(run);
}

#[test]
fn seeds_are_there_for_every_target() {
    let directory = std::env::var_os("COLONY_GATEWAY_FUZZ_SEEDS").map(PathBuf::from);
    for (name, _, seeds) in TARGETS {
        let seeds = seeds();
        assert!(seeds.len() >= 5, "{name}");
        let Some(place) = directory.as_ref().map(|directory| directory.join(name)) else { continue };
        std::fs::create_dir_all(&place).expect("a directory for seeds");
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(place.join(format!("seed-{number}")), seed).expect("a seed");
        }
    }
}
