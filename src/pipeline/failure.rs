//! Why a batch was not applied, and who is at fault.

use std::time::Duration;

use crate::domain::causes::chain;
use crate::domain::outcome::ProblemCode;
use crate::ledger::{Disposition, LedgerError, LedgerErrorKind, Outcome};

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    Ledger(LedgerError),
    /// A bug met an event of an unexpected shape.
    Panicked,
}

/// Who is at fault, and so what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// One of the events, which halving will find.
    Events,
    /// The ledger: the same batch may pass, but not before `after`.
    Ledger { after: Duration },
    /// It is unknown.
    Unknown,
}

impl Failure {
    pub fn blame(&self) -> Blame {
        match self {
            Self::Panicked => Blame::Events,
            Self::Ledger(error) => match error.disposition() {
                Disposition::GiveUp => Blame::Events,
                Disposition::Retry { after } => Blame::Ledger { after },
                Disposition::Probe => Blame::Unknown,
            },
        }
    }

    /// Stable name, for spans.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.kind.as_str(),
            Self::Panicked => "panicked",
        }
    }

    /// The ledger's error, if it was asked.
    pub fn into_error(self) -> Option<LedgerError> {
        match self {
            Self::Ledger(error) => Some(error),
            Self::Panicked => None,
        }
    }

    /// The outcome of an event that was alone in its batch and is itself at fault.
    pub fn into_outcome(self) -> Outcome {
        let (code, reason) = match self {
            Self::Panicked => (
                ProblemCode::PipelinePanicked.to_string(),
                "the pipeline panicked on this event; this is a fault of the gateway".to_owned(),
            ),
            Self::Ledger(error) => (format!("ledger_{}", error.kind), chain(&error)),
        };
        Outcome::Failed { code, reason }
    }
}

/// Whether a fault that looks like the ledger's can be the events' own: if they fail alone while others pass.
pub fn may_be_the_events(kind: LedgerErrorKind) -> bool {
    match kind {
        LedgerErrorKind::TimedOut | LedgerErrorKind::Conflict | LedgerErrorKind::Unknown => true,
        LedgerErrorKind::Unavailable
        | LedgerErrorKind::Overload
        | LedgerErrorKind::Auth
        | LedgerErrorKind::Schema
        | LedgerErrorKind::OtherLedger
        | LedgerErrorKind::Rejected
        | LedgerErrorKind::Storage => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_what_the_ledger_refuses_are_known_to_metrics_and_advice() {
        for kind in [LedgerErrorKind::Rejected, LedgerErrorKind::Unknown] {
            let failure = Failure::Ledger(LedgerError::new("scripted", kind, "as told"));
            let Outcome::Failed { code, .. } = failure.into_outcome() else { panic!("not failed") };
            assert!(code.parse::<ProblemCode>().is_ok(), "{code}");
        }
    }
}
