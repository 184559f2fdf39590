//! The settings of `dev`, read again: what the user changed, with what `dev` itself put in place at its start.

use super::console;
use crate::app::ReadSettings;
use crate::config::Config;

/// Reads settings as [`Config::for_serve`] does, and keeps what `dev` made of them at its start.
pub(super) fn reading(first: &Config) -> ReadSettings {
    let first = first.clone();
    Box::new(move |sources| {
        let mut config = Config::for_serve(sources)?;
        keep(&mut config, &first);
        Ok(config)
    })
}

fn keep(config: &mut Config, first: &Config) {
    if console::token(first).is_some() {
        config.http.operators.clone_from(&first.http.operators);
    }
    for endpoint in &mut config.endpoints {
        if let Some(same) = first.endpoints.iter().find(|known| known.name == endpoint.name) {
            endpoint.payload = same.payload;
        }
    }
    config.inbox = first.inbox.clone();
}
