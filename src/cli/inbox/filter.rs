//! The options that choose entries.

use clap::Args;

use crate::cli::moment::Moment;
use crate::domain::clock::Clock;
use crate::domain::ids::EntryId;
use crate::inbox::{Selection, StateName};

/// Which entries. Options of different kinds all hold; values of one option are alternatives.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which entries")]
pub(in crate::cli) struct Filter {
    /// Numbers of entries, or ids of events.
    #[arg(value_name = "ENTRY|EVENT")]
    which: Vec<String>,
    /// Numbers of entries.
    #[arg(long, value_delimiter = ',')]
    entry: Vec<i64>,
    /// Ids of events.
    #[arg(long, value_delimiter = ',')]
    event: Vec<String>,
    /// Types of events; `invoice.*` is every type that begins with `invoice.`.
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kind: Vec<String>,
    /// waiting, leased, submitted, settled, dead or quarantined.
    #[arg(long, value_delimiter = ',')]
    state: Vec<StateName>,
    /// Codes of dead and quarantined entries, or outcomes of settled ones.
    #[arg(long, value_delimiter = ',')]
    code: Vec<String>,
    /// Names of endpoints.
    #[arg(long, value_delimiter = ',')]
    endpoint: Vec<String>,
    /// Users, as events name them in metadata or as the client reference.
    #[arg(long, value_delimiter = ',')]
    user: Vec<String>,
    /// Stripe's customers, cus_….
    #[arg(long, value_delimiter = ',')]
    customer: Vec<String>,
    /// What entries refer to: an invoice, payment, charge, refund, subscription or customer of Stripe's, a user, or a process of
    /// the colony.
    #[arg(long = "ref", value_name = "ID", value_delimiter = ',')]
    refs: Vec<String>,
    /// Received no earlier: a time such as 2026-01-02T03:04:05Z, or how long ago, such as 90m, 2h or 3d.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Received earlier than this.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

impl Filter {
    /// The selection that it means at this time.
    pub(in crate::cli) fn selection(&self, clock: &Clock) -> anyhow::Result<Selection> {
        let now = clock.now();
        let (mut entries, mut events): (Vec<EntryId>, _) =
            (self.entry.iter().copied().map(EntryId).collect(), self.event.clone());
        for which in &self.which {
            match which.parse() {
                Ok(entry) => entries.push(EntryId(entry)),
                Err(_) => events.push(which.clone()),
            }
        }
        // In a selection, entries and events must both match. As alternatives, they must be given in the same form.
        anyhow::ensure!(
            entries.is_empty() || events.is_empty(),
            "name entries by their numbers or by their events' ids, not both in one command"
        );
        let selection = Selection {
            entries,
            events,
            types: self.kind.clone(),
            states: self.state.clone(),
            codes: self.code.clone(),
            endpoints: self.endpoint.clone(),
            users: self.user.clone(),
            customers: self.customer.clone(),
            refs: self.refs.clone(),
            since: self.since.map(|since| since.before(now)),
            until: self.until.map(|until| until.before(now)),
        };
        selection.check()?;
        Ok(selection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_entry_and_anything_else_an_event() {
        let clock = Clock::manual(crate::domain::clock::Timestamp::from_seconds(1));
        let of =
            |which: &[&str]| Filter { which: which.iter().map(|w| (*w).to_owned()).collect(), ..Filter::default() };
        assert_eq!(of(&["7"]).selection(&clock).unwrap().entries, [EntryId(7)]);
        assert_eq!(of(&["evt_7", "sha256:00"]).selection(&clock).unwrap().events.len(), 2);
        assert!(of(&["7", "evt_7"]).selection(&clock).is_err());
        assert!(of(&[]).selection(&clock).unwrap().is_empty());
    }
}
