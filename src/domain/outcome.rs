//! What becomes of events, entries and processes, by the names that metrics, files, jobs and reports share.

use super::named::named;

named! {
    /// What became of an event in the state of record.
    pub enum OutcomeName {
        /// At least one row changed, or the event was recorded as having nothing left to change.
        Applied = "applied",
        /// Recorded; every row that it would write was already newer.
        Stale = "stale",
        /// Applied before.
        Duplicate = "duplicate",
        /// Recorded; the gateway maps nothing from its type.
        Ignored = "ignored",
        /// A rule wants a person to look first.
        Quarantined = "quarantined",
        /// No retry can mend it.
        Failed = "failed",
    }
}

named! {
    /// The outcomes that need no person.
    pub enum Settled {
        Applied = "applied",
        Stale = "stale",
        Duplicate = "duplicate",
        Ignored = "ignored",
    }
}

/// The name in inbox and ledger for the end of an event that a person dropped.
pub const DROPPED: &str = "dropped";

impl From<Settled> for OutcomeName {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Applied => Self::Applied,
            Settled::Stale => Self::Stale,
            Settled::Duplicate => Self::Duplicate,
            Settled::Ignored => Self::Ignored,
        }
    }
}

named! {
    /// The state of an entry. Its place in the list is its number in the inbox file.
    pub enum StateName {
        /// Waits for an attempt.
        Waiting = "waiting",
        /// A pump works on it.
        Leased = "leased",
        /// A process of a Colonies server has it.
        Submitted = "submitted",
        /// Done: applied, found to need nothing, or dropped.
        Settled = "settled",
        /// Given up; kept until a person replays it.
        Dead = "dead",
        /// Held back by a rule; kept until a person releases it.
        Quarantined = "quarantined",
    }
}

named! {
    /// What an unfinished entry waits for, other than its turn. It is in the row's field for the code of an ended entry.
    pub enum Awaited {
        /// Stripe's answer about its object.
        Stripe = "awaits_stripe",
        /// A bee that may ask Stripe about its object, because this gateway has no key. Also while a process has it.
        Bee = "awaits_bee",
        /// The answer of the program that has its batch: the ledger, or the Colonies server. Only while it is leased.
        Answer = "awaits_answer",
    }
}

named! {
    /// Why an entry came back from a process without an outcome.
    pub enum Returned {
        /// Every bee that took the process let its lease expire.
        LeasesLost = "leases_lost",
        /// A bee refused the job. The fault is the bee's or a key's.
        Refused = "refused",
        /// The process claims that the event took effect, but the ledger does not know it.
        NotRecorded = "not_recorded",
        /// The process claims that the event cannot be applied, but nothing proves it.
        Unproven = "unproven",
        /// The server does not know the process any more.
        UnknownProcess = "unknown_process",
        Cancelled = "cancelled",
        /// The output of the process cannot be read.
        NoResult = "no_result",
        /// The output says nothing about this event.
        Missing = "missing",
        /// The bee left the event alone, because Stripe gave no answer about its object.
        Unanswered = "unanswered",
        /// No bee took the process in time.
        TooOld = "too_old",
        /// The bee's clock and the gateway's are too far apart.
        ClocksDiffer = "clocks_differ",
        /// This gateway uses no colony any more.
        NoColony = "no_colony",
    }
}

named! {
    /// How a process ended that was assigned to a bee.
    pub enum JobEnd {
        /// With an outcome for every event, or nearly every event.
        Closed = "closed",
        /// The ledger knew all of its events, because a lease was lost after the work or a job was replayed.
        Recognised = "recognised",
        /// Its attestation was rejected.
        Rejected = "rejected",
        /// The server had given it to another bee.
        LeaseLost = "lease_lost",
        /// Time ran out, and the lease was left to expire.
        OutOfTime = "out_of_time",
        /// With an answer to a question.
        Answered = "answered",
        /// The server did not take the result.
        Unclosed = "unclosed",
    }
}

named! {
    /// Codes that the gateway itself gives to dead and quarantined entries. All other codes are names of rules.
    pub enum ProblemCode {
        /// The door: signed bytes that are not an event.
        Malformed = "malformed",
        /// The door: the endpoint is configured for the other payload style.
        Misrouted = "misrouted",
        /// The door: a test event on a live endpoint, or the other way round.
        ModeMismatch = "mode_mismatch",
        /// The door: an account that the endpoint does not expect.
        AccountMismatch = "account_mismatch",
        /// The pipeline: the object is unknown, because Stripe could not be asked for it.
        ObjectUnknown = "object_unknown",
        /// The pipeline: a bug of the gateway met the event.
        ProjectionFailed = "projection_failed",
        /// The same, as a panic.
        PipelinePanicked = "pipeline_panicked",
        /// The ledger refuses the rows.
        LedgerRejected = "ledger_rejected",
        /// The ledger refuses only this event, with an error that no rule knows.
        LedgerUnknown = "ledger_unknown",
        /// Every attempt failed.
        AttemptsExhausted = "attempts_exhausted",
        /// The gateway died each time it worked on the event.
        CrashLoop = "crash_loop",
    }
}
