//! A configured webhook endpoint: where Stripe posts to, which secrets sign it, and what may come.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::ids::EndpointName;
use crate::domain::renewable::Renewable;

use super::envelope::{Envelope, PayloadKind};
use super::signature::SigningSecret;
use super::tally::Tally;

/// Stripe's mode that an endpoint belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Test mode and sandboxes.
    Test,
    /// Either, for a gateway whose secrets cover both.
    Any,
}

/// A configured webhook endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name in logs, metrics and the inbox.
    pub name: EndpointName,
    /// Paths it answers on, each starting with a slash.
    pub paths: Vec<String>,
    /// Secrets that may have signed; several during a roll. A reload replaces them at once.
    pub secrets: Renewable<Vec<SigningSecret>>,
    /// Mode of its events.
    pub mode: Mode,
    /// Form of its events.
    pub payload: PayloadKind,
    /// Whether its events are those of connected accounts; `None` for both.
    pub connect: Option<bool>,
    /// How far a signature's time may differ from ours.
    pub tolerance: Duration,
    /// What its signatures decided since the start. Clones count together.
    pub tally: Arc<Tally>,
}

/// Why an event does not belong to the endpoint at which it arrived. It is kept and acknowledged: Stripe would repeat a
/// refused event for days and then disable the whole endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A thin event on a snapshot endpoint, or the reverse.
    Misrouted,
    /// A live event on a test endpoint, or the reverse.
    Mode,
    /// An event of a connected account on an endpoint for our own, or the reverse.
    Account,
}

impl Mismatch {
    /// Stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Misrouted => "misrouted",
            Self::Mode => "mode_mismatch",
            Self::Account => "account_mismatch",
        }
    }

    /// Advice to the operator.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Misrouted => {
                "the payload style of this endpoint in Stripe is not the one configured here: give thin and snapshot \
                 events endpoints of their own"
            }
            Self::Mode => "an event of the other mode: check which mode's secret this endpoint uses",
            Self::Account => "Connect events need an endpoint of their own with `connect = true`",
        }
    }
}

impl Endpoint {
    /// Whether an event belongs here.
    pub fn check(&self, event: &Envelope) -> Result<(), Mismatch> {
        if event.payload != self.payload {
            return Err(Mismatch::Misrouted);
        }
        match (self.mode, event.livemode) {
            (Mode::Live, Some(false)) | (Mode::Test, Some(true)) => return Err(Mismatch::Mode),
            (Mode::Live | Mode::Test | Mode::Any, _) => {}
        }
        match self.connect {
            Some(connect) if connect != event.account.is_some() => Err(Mismatch::Account),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::EventId;

    fn endpoint(mode: Mode, payload: PayloadKind, connect: Option<bool>) -> Endpoint {
        let (name, tolerance) = (EndpointName::new("stripe"), Duration::ZERO);
        let (secrets, tally) = (Vec::new().into(), Arc::default());
        Endpoint { name, paths: Vec::new(), secrets, mode, payload, connect, tolerance, tally }
    }

    fn event(payload: PayloadKind, livemode: Option<bool>, account: Option<&str>) -> Envelope {
        let account = account.map(str::to_owned);
        Envelope {
            id: EventId::new("evt_1"),
            kind: "invoice.paid".into(),
            payload,
            livemode,
            account,
            snapshot_event: None,
        }
    }

    #[test]
    fn events_belong_by_form_mode_and_account() {
        use PayloadKind::{Snapshot, Thin};
        let cases = [
            (Mode::Any, Snapshot, None, event(Snapshot, Some(true), Some("acct_1")), Ok(())),
            (Mode::Any, Snapshot, None, event(Thin, Some(true), None), Err(Mismatch::Misrouted)),
            (Mode::Any, Thin, None, event(Snapshot, Some(true), None), Err(Mismatch::Misrouted)),
            (Mode::Live, Snapshot, None, event(Snapshot, Some(false), None), Err(Mismatch::Mode)),
            (Mode::Test, Snapshot, None, event(Snapshot, Some(true), None), Err(Mismatch::Mode)),
            (Mode::Live, Thin, None, event(Thin, None, None), Ok(())),
            (Mode::Any, Snapshot, Some(false), event(Snapshot, None, Some("acct_1")), Err(Mismatch::Account)),
            (Mode::Any, Snapshot, Some(true), event(Snapshot, None, None), Err(Mismatch::Account)),
            (Mode::Any, Snapshot, Some(true), event(Snapshot, None, Some("acct_1")), Ok(())),
        ];
        for (mode, payload, connect, event, expected) in cases {
            assert_eq!(
                endpoint(mode, payload, connect).check(&event),
                expected,
                "{mode:?} {payload:?} {connect:?} {event:?}"
            );
        }
    }
}
