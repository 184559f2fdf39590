//! Keys of owners that a service was given and does not need: who takes it over has them too.

use crate::config::Config;
use crate::domain::clock::Clock;
use crate::telemetry::health::{Board, Level};

/// Component of `/health` that names them, for `check`.
pub const COMPONENT: &str = "owner_keys";

/// Settings with owners' keys that a service does not need. `works` says whether bees run in it.
fn unneeded(config: &Config, works: bool) -> Vec<&'static str> {
    let colony = &config.colony;
    // Bees without a key of their own use one derived from the owner's. With both keys, they approve themselves by choice.
    let owners = colony.colony_key.is_some() && !works;
    let given = [
        (owners, "COLONIES_COLONY_PRVKEY"),
        (colony.server_key.is_some(), "COLONIES_SERVER_PRVKEY"),
        (config.ledger_expectation.owner_url.is_some(), "GATEWAY_LEDGER_OWNER_URL"),
    ];
    given.into_iter().filter_map(|(is_given, name)| is_given.then_some(name)).collect()
}

/// Reports them in the log and in health. They do not change the state of the service.
pub(super) fn tell(config: &Config, works: bool, board: &Board, clock: &Clock) {
    if works && config.colony.colony_key.is_some() && config.colony.executor_key.is_some() {
        tracing::info!(
            "the bees approve themselves with COLONIES_COLONY_PRVKEY; `colony setup` does it without giving them that key"
        );
    }
    let names = unneeded(config, works).join(", ");
    if !names.is_empty() {
        tracing::warn!(
            settings = names,
            "owners' keys: remove {names} from the service's settings, because serving does not need them"
        );
        board.set(COMPONENT, Level::Ok, format!("set here, and serving does not need them: {names}"), clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const KEY: &str = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05";

    #[test]
    fn keys_that_serving_does_not_need_are_named_and_others_are_not() {
        let named = |names: &[&str], works| {
            let value = |name: &&str| if name.ends_with("URL") { "postgres://u@localhost/x" } else { KEY };
            let environment = names.iter().map(|name| ((*name).to_owned(), value(name).to_owned())).collect();
            unneeded(&Config::for_tools(&Sources { environment, file: None }).unwrap(), works)
        };
        assert_eq!(named(&["COLONIES_USER_PRVKEY", "COLONIES_EXECUTOR_PRVKEY", "DATABASE_URL"], false), [""; 0]);
        let all = ["COLONIES_COLONY_PRVKEY", "COLONIES_SERVER_PRVKEY", "GATEWAY_LEDGER_OWNER_URL"];
        assert_eq!(named(&all, false), all);
        assert_eq!(named(&all, true), all[1..]);
    }
}
