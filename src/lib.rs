//! colony-gateway: from Stripe webhooks to verified revenue records.
//!
//! A folder is a stage of the pipeline, in the order an event passes through it:
//!
//! | stage | role |
//! |---|---|
//! | [`door`] | receives a delivery, verifies it, answers only after it is durable |
//! | [`inbox`] | durable journal of deliveries: states, leases, retries |
//! | [`dispatch`] | takes entries out of the inbox and brings them to their end |
//! | [`job`] | what a job of ours is, which travels over a Colonies server (crate `colonies`) |
//! | [`bees`] | takes jobs off the colony and does them |
//! | [`revenue`] | the domain: what an event means, and whether to trust it |
//! | [`ledger`] | the state of record |
//! | [`reconcile`] | compares with Stripe, and brings in what never arrived |
//!
//! [`notify`] writes to people. [`backup`] copies the gateway's files and brings them back. [`admin`] shows operators what there is
//! and takes their orders, [`console`] does it in pages.
//! [`stripe`] knows Stripe's formats, [`app`] wires everything, [`lifecycle`] starts and stops it.
//! [`config`], [`telemetry`], [`outbound`] (calls over HTTP) and [`domain`] are leaves that any module may use.
//! ARCHITECTURE.md describes the invariants; `tests/tidy.rs` checks the import rules.

pub mod admin;
pub mod app;
pub mod backup;
pub mod bees;
pub mod cli;
pub mod config;
pub mod console;
pub mod dispatch;
pub mod domain;
pub mod door;
pub mod inbox;
pub mod job;
pub mod ledger;
pub mod lifecycle;
pub mod notify;
pub mod outbound;
pub mod pipeline;
pub mod postgres;
pub mod reconcile;
pub mod revenue;
pub mod stripe;
pub mod telemetry;
