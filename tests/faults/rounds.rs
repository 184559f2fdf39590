//! How often a test breaks something, and where its random choices come from.

use colony_gateway::domain::clock::Clock;

/// A test's random choices, repeatable from the seed that it prints.
pub(crate) struct Rounds {
    /// How often.
    pub(crate) number: u64,
    /// What the choices follow from.
    pub(crate) seed: u64,
    /// The choices.
    pub(crate) random: fastrand::Rng,
}

#[expect(clippy::disallowed_methods, reason = "a test takes its size and its seed from the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The file that figures are appended to, if any.
pub(crate) fn figures_file() -> Option<String> {
    variable("COLONY_GATEWAY_FAULTS_FIGURES")
}

impl Rounds {
    /// `number` rounds, or as many times more as the environment says.
    pub(crate) fn of(number: u64) -> Self {
        let times: u64 = variable("COLONY_GATEWAY_FAULTS_ROUNDS").map_or(1, |times| times.parse().unwrap());
        let seed = match variable("COLONY_GATEWAY_FAULTS_SEED") {
            Some(seed) => seed.parse().unwrap(),
            None => Clock::system().now().millis().unsigned_abs(),
        };
        println!("seed {seed}");
        Self { number: number * times.max(1), seed, random: fastrand::Rng::with_seed(seed) }
    }
}
