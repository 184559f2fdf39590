//! Every metric of the gateway, in one place, with its help text, on a separate registry.
//!
//! Labels are bounded: their values are fixed here and start at zero, so that a rate is defined from the first scrape.

mod open;
mod process;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use open::{LateGauge, OpenCounters, OpenGauges, VALUES_MAX};
use registry::Registry;
pub use registry::{CounterFamily, GaugeFamily};

use crate::domain::breaker::BreakerState;
use crate::domain::clock::Timestamp;
use crate::domain::outcome::{JobEnd, OutcomeName, ProblemCode, Returned, StateName};
use crate::domain::route::Route;

/// Seconds: from an acknowledgement on a fast disk to the longest back-off.
const SECONDS: [f64; 19] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// Entries in a batch.
const ENTRIES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Types of event with a label of their own; all others count as `other`.
const EVENT_TYPES: [&str; 35] = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalized",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice_payment.paid",
    "charge.succeeded",
    "charge.captured",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "malformed",
];

/// Codes of dead and quarantined entries with a label of their own. The Guardian's rules, of which operators write their
/// own, and all others count as `other`.
pub fn problem_codes() -> Vec<&'static str> {
    [
        &ProblemCode::NAMES[..],
        &["structure", "id_form", "livemode", "account", "amount_form", "currency_form", "size", "other"],
    ]
    .concat()
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident($name:literal $(, $arg:expr)*);)+) => {
        /// Every metric of the gateway. Clones share them.
        #[derive(Clone)]
        pub struct Metrics {
            handle: PrometheusHandle,
            $($(#[doc = $help])+ pub $field: kind!($kind),)+
        }

        impl Metrics {
            fn register(recorder: &Arc<PrometheusRecorder>) -> Self {
                let registry = Registry(recorder);
                Self {
                    handle: recorder.handle(),
                    $($field: registry.$kind($name, concat!($($help),+).trim() $(, $arg)*),)+
                }
            }
        }
    };
}

macro_rules! kind {
    (counter) => {
        Counter
    };
    (gauge) => {
        Gauge
    };
    (late_gauge) => {
        LateGauge
    };
    (histogram) => {
        Histogram
    };
    (counters) => {
        CounterFamily
    };
    (gauges) => {
        GaugeFamily
    };
    (open_counters) => {
        OpenCounters
    };
    (open_gauges) => {
        OpenGauges
    };
}

metrics! {
    /// Webhook requests answered, by result: ok, duplicate, held, or the code of the problem.
    webhook_requests: counters("colony_gateway_webhook_requests_total", "result", &[
        "ok", "duplicate", "held", "invalid_signature", "body_too_large", "body_incomplete", "request_timeout",
        "overloaded", "inbox_unavailable", "shutting_down", "method_not_allowed", "not_found",
        "peer_over_share", "peer_not_listed",
    ]);
    /// Seconds from the head of a webhook request to its answer.
    webhook_seconds: histogram("colony_gateway_webhook_duration_seconds");
    /// Refused signatures, by reason.
    signature_failures: counters(
        "colony_gateway_signature_failures_total", "reason", &stripe_events::signature::SignatureError::REASONS
    );
    /// Deliveries acknowledged and held for a person, by reason.
    held: counters("colony_gateway_deliveries_held_total", "reason", &[
        "malformed", "misrouted", "mode_mismatch", "account_mismatch",
    ]);
    /// Events stored, duplicates not counted, by type.
    events: counters("colony_gateway_events_total", "type", &EVENT_TYPES);
    /// Open connections on the webhook listener.
    connections: gauge("colony_gateway_connections");
    /// Webhook requests in hand.
    requests_in_hand: gauge("colony_gateway_webhook_requests_in_hand");
    /// Idle connections closed to make room for new ones.
    connections_displaced: counter("colony_gateway_connections_displaced_total");
    /// Connections refused because too many were open and busy.
    connections_refused: counter("colony_gateway_connections_refused_total");
    /// Entries in the inbox, by state.
    inbox_entries: gauges("colony_gateway_inbox_entries", "state", &StateName::NAMES);
    /// Seconds since the oldest entry that is not ended was received.
    inbox_oldest: gauge("colony_gateway_inbox_oldest_seconds");
    /// Transactions the inbox has committed.
    inbox_commits: counter("colony_gateway_inbox_commits_total");
    /// Transactions of the inbox that failed.
    inbox_failures: counter("colony_gateway_inbox_failures_total");
    /// 1 while the inbox takes writes, 0 while it cannot.
    inbox_writable: gauge("colony_gateway_inbox_writable");
    /// Deliveries that stand in `inbox.spill_dir` until the database of the inbox takes them.
    inbox_spilled: gauge("colony_gateway_inbox_spilled");
    /// Events brought to their end, by outcome.
    outcomes: counters("colony_gateway_events_ended_total", "outcome", &[&OutcomeName::NAMES[..], &["retried"]].concat());
    /// Events that the Guardian looked at in this process, by what it decided: of what passes, `flagged` is what a rule marked.
    guardian: counters("colony_gateway_guardian_events_total", "decision", &["approved", "flagged", "blocked"]);
    /// Entries in a batch, whichever route it took.
    batch_entries: histogram("colony_gateway_batch_entries");
    /// Seconds a lease waited for more events.
    linger_seconds: histogram("colony_gateway_linger_seconds");
    /// Seconds a ledger call took.
    ledger_seconds: histogram("colony_gateway_ledger_duration_seconds");
    /// 1 from a call that the ledger was away for (`unavailable`, `overload`, `timed_out`) until one that it answered.
    ledger_away: gauge("colony_gateway_ledger_away");
    /// Ledger calls that failed, by kind.
    ledger_errors: counters("colony_gateway_ledger_errors_total", "kind", &[
        "unavailable", "overload", "timed_out", "conflict", "auth", "schema", "other_ledger", "rejected", "storage", "unknown",
    ]);
    /// 1 while dispatch is paused because the ledger answers with errors that no rule knows.
    dispatch_paused: gauge("colony_gateway_dispatch_paused");
    /// Kinds of entries that wait for a person (a code and an event type make a kind), by code.
    problems: gauges("colony_gateway_problems", "code", &problem_codes());
    /// Subscriptions that entitle by what Stripe says and give no user access, by reason: nothing names a user, claims
    /// contradict each other, the user's id does not fit the public tables, or a rule withholds it.
    unowned: gauges("colony_gateway_unowned_subscriptions", "reason", &[
        "unnamed", "contested", "unfit", "withheld", "erased", "untold",
    ]);
    /// Users whom the public tables do not show as they are, by what they have: `entitled` pay and do not get it.
    not_shown: gauges("colony_gateway_users_not_shown", "access", &["entitled", "none"]);
    /// Subscriptions in any status without a user.
    orphans: gauge("colony_gateway_orphans");
    /// Findings in the state of record, by severity.
    findings: gauges("colony_gateway_findings", "severity", &["info", "warning", "critical"]);
    /// Entries that a person replayed, released or dropped.
    interventions: counters("colony_gateway_interventions_total", "action", &["replay", "release", "drop", "refetch"]);
    /// 1 for the route that entries take now.
    route: gauges("colony_gateway_route", "route", &Route::NAMES);
    /// 1 for the state of the circuit breaker before the Colonies server.
    colony_breaker: gauges("colony_gateway_colony_breaker", "state", &BreakerState::NAMES);
    /// 1 for the state of the circuit breaker that opens when no bee finishes submitted jobs.
    bees_breaker: gauges("colony_gateway_bees_breaker", "state", &BreakerState::NAMES);
    /// Jobs submitted, by result: ok, or the kind of error.
    submissions: counters("colony_gateway_submissions_total", "result", &[
        "ok", "sealing", "unreachable", "timed_out", "broken", "overloaded", "server_fault", "oversized", "malformed",
        "unexpected", "not_a_member", "not_approved", "access_denied", "unknown_colony", "rejected",
    ]);
    /// Seconds a submission took.
    submit_seconds: histogram("colony_gateway_submit_duration_seconds");
    /// Processes of the colony that hold entries.
    processes_in_flight: gauge("colony_gateway_processes_in_flight");
    /// Processes that came to an end, by how the gateway learned of it.
    confirmations: counters("colony_gateway_confirmations_total", "way", &["told", "asked"]);
    /// Entries that came back from a process without a result, by reason.
    returned: counters("colony_gateway_entries_returned_total", "reason", &Returned::NAMES);
    /// 1 for an executor that said what the ledger does not know, or refused a job; 0 when it did well since.
    suspect_bees: open_gauges("colony_gateway_suspect_bees", "executor");
    /// Seconds from the receipt of an event to its end.
    settle_seconds: histogram("colony_gateway_settle_duration_seconds");
    /// Bees of this process, by state.
    bees: gauges("colony_gateway_bees", "state", &["starting", "waiting", "idle", "working", "paused", "failing"]);
    /// Processes that bees were assigned, by how that ended.
    bee_jobs: counters("colony_gateway_bee_jobs_total", "end", &JobEnd::NAMES);
    /// Processes that bees rejected before the pipeline saw them, by reason.
    jobs_rejected: counters("colony_gateway_jobs_rejected_total", "reason", &[
        "other_function", "not_attested", "attestation_malformed", "unknown_encoding", "arguments", "batch",
        "attestation_algorithm", "attestation_unknown_key", "attestation_signature", "attestation_too_old",
        "attestation_from_the_future", "attestation_other_submitter", "attestation_replayed", "other_ledger",
        "sealed_to_others", "sealed_malformed",
    ]);
    /// Events that bees worked on, by outcome; undecided ones are left to the gateway.
    bee_events: counters("colony_gateway_bee_events_total", "outcome", &[&OutcomeName::NAMES[..], &["undecided"]].concat());
    /// Times that bees became members of the colony.
    bee_registrations: counter("colony_gateway_bee_registrations_total");
    /// Comparisons with Stripe that came to an end, by result: unrepaired left differences, failed ended early.
    reconcile_runs: counters("colony_gateway_reconcile_runs_total", "result", &["ok", "unrepaired", "failed"]);
    /// Events that Stripe lists and the gateway did not know.
    reconcile_missing: counter("colony_gateway_reconcile_missing_total");
    /// Of these, taken into the inbox.
    reconcile_inserted: counter("colony_gateway_reconcile_inserted_total");
    /// Subscriptions brought in order.
    reconcile_repaired: counter("colony_gateway_reconcile_repaired_total");
    /// Rows that older rules had wrong, mended by counting again.
    reconcile_recounted: counter("colony_gateway_reconcile_recounted_total");
    /// Times that events fell off the end of Stripe's list before they were compared.
    reconcile_horizon_losses: counter("colony_gateway_reconcile_horizon_losses_total");
    /// Seconds a comparison took.
    reconcile_seconds: histogram("colony_gateway_reconcile_duration_seconds");
    /// Seconds since the moment up to which events are compared; 0 before the first comparison.
    reconcile_cursor_age: gauge("colony_gateway_reconcile_cursor_age_seconds");
    /// When a comparison last came to its end, in seconds since the Unix epoch.
    reconcile_last_success: gauge("colony_gateway_reconcile_last_success_timestamp_seconds");
    /// 1 while it is this gateway's turn to compare.
    reconcile_leads: gauge("colony_gateway_reconcile_leads");
    /// Differences between what shadow mode would write and what stands in the public tables, by kind.
    shadow_differences: gauges("colony_gateway_shadow_differences", "kind", &[
        "missing_there", "missing_here", "different",
    ]);
    /// Heartbeats of bees sent to Redis, by result.
    heartbeats: counters("colony_gateway_heartbeats_total", "result", &["ok", "failed"]);
    /// Messages to people, by what became of them: given up (`failed`), or dropped because too many waited (`queue_full`).
    notifications: counters("colony_gateway_notifications_total", "result", &["sent", "failed", "queue_full"]);
    /// When the last webhook was acknowledged, in seconds since 1970; 0 when there was none yet.
    last_webhook: gauge("colony_gateway_last_webhook_timestamp_seconds");
    /// Spans of traces, by what became of them: dropped because too many waited for the collector (`queue_full`), given up
    /// (`not_exported`), or not wanted by it (`refused`).
    trace_spans: counters("colony_gateway_trace_spans_total", "result", &[
        "exported", "queue_full", "not_exported", "refused",
    ]);
    /// What retention removed: bodies of settled entries, of entries that waited for a person (`held_bodies`), entries, and
    /// payloads of events in the ledger.
    retention_removed: counters("colony_gateway_retention_removed_total", "what", &[
        "bodies", "held_bodies", "entries", "payloads",
    ]);
    /// Events made before this moment have no payload in the ledger any more, but for those that are still needed, in seconds
    /// since the Unix epoch; 0 where payloads are kept for ever, or before the first pass.
    payloads_expired_to: gauge("colony_gateway_payloads_expired_to_timestamp_seconds");
    /// Bytes that the disk of the inbox still takes; absent until that was measured.
    disk_free: late_gauge("colony_gateway_inbox_disk_free_bytes");
    /// Seconds since the file of a secret was written, by its setting.
    secret_age: open_gauges("colony_gateway_secret_age_seconds", "secret");
    /// Times that a key was used: a secret of an endpoint (`webhook:` and its fingerprint) signed a delivery, alone or beside
    /// others, a key of a gateway (`attestation:` and its id) vouched for a job. A key whose count stands still is not needed
    /// any more.
    key_uses: open_counters("colony_gateway_key_uses_total", "key");
    /// When a key was last used, by the names of `colony_gateway_key_uses_total`, in seconds since the Unix epoch; 0 when it was
    /// not used since the start.
    key_last_use: open_gauges("colony_gateway_key_last_use_timestamp_seconds", "key");
    /// Times that settings and secrets were read again, by result.
    reloads: counters("colony_gateway_reloads_total", "result", &["ok", "refused"]);
    /// Always 1; where people open the console is the label. Absent where `GATEWAY_CONSOLE_URL` is not set.
    console: open_gauges("colony_gateway_console_info", "url");
    /// Always 1; the version is the label.
    build_info: gauges("colony_gateway_build_info", "version", &[env!("CARGO_PKG_VERSION")]);
}

impl Metrics {
    /// Counts a use of a key, by its kind and id.
    pub fn use_key(&self, kind: &str, id: impl fmt::Display, now: Timestamp) {
        let name = format!("{kind}:{id}");
        self.key_uses.of(&name).increment(1);
        self.key_last_use.of(&name).set(now.as_seconds());
    }

    /// Shows a key that may not have been used yet.
    pub fn know_key(&self, kind: &str, id: impl fmt::Display) {
        let name = format!("{kind}:{id}");
        drop(self.key_uses.of(&name));
        drop(self.key_last_use.of(&name));
    }

    /// Says where people open the console: alerts make their links of it.
    pub fn know_console(&self, url: &str) {
        self.console.of(url).set(1.0);
    }

    /// A registry of its own with every metric at zero.
    #[expect(clippy::missing_panics_doc, reason = "the buckets are constants and not empty")]
    pub fn new() -> Arc<Self> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_entries".to_owned()), &ENTRIES))
            .expect("the buckets are not empty")
            .build_recorder();
        let metrics = Self::register(&Arc::new(recorder));
        metrics.build_info.set(env!("CARGO_PKG_VERSION"), 1.0);
        metrics.inbox_writable.set(1.0);
        Arc::new(metrics)
    }

    /// The metrics in Prometheus' text format, and what the process uses at this moment.
    pub fn render(&self) -> String {
        self.handle.render() + &process::render()
    }

    /// Folds recorded histogram values together. Without it they pile up until the next scrape.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// Records a duration in a histogram of seconds.
    pub fn observe(histogram: &Histogram, duration: Duration) {
        histogram.record(duration.as_secs_f64());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_help_and_counters_start_at_zero() {
        let text = Metrics::new().render();
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text");
        }
        assert!(text.contains("colony_gateway_webhook_requests_total{result=\"ok\"} 0"), "{text}");
        assert!(text.contains("colony_gateway_signature_failures_total{reason=\"stale\"} 0"), "{text}");
    }

    #[test]
    fn a_label_takes_no_values_from_outside() {
        let metrics = Metrics::new();
        metrics.events.of("invoice.paid").increment(1);
        metrics.events.of("made.up").increment(1);
        let text = metrics.render();
        assert!(text.contains("colony_gateway_events_total{type=\"invoice.paid\"} 1"), "{text}");
        assert!(text.contains("colony_gateway_events_total{type=\"other\"} 1"), "{text}");
        assert!(!text.contains("made.up"));
    }
}
