//! Lives of money as Stripe allows them, in random API shapes: whatever the order, the doubles and the batches, the net is
//! what the balance of the account would be but for fees, and what came around Stripe is told apart.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{play, shuffled, validator};
use crate::lives::runner;
use crate::plans::EPOCH_SECONDS;
use crate::postgres::Flavour;
use crate::recount::recount_by;
use crate::stores::{Postgres, Sqlite, Store};

/// How one customer's money moves. Amounts are minor units.
#[derive(Clone, Debug)]
enum Life {
    /// A card is authorised, and perhaps captured, refunded, disputed.
    Card { old: bool, authorised: i64, captured: u8, refunds: Vec<(u8, bool)>, dispute: Option<Dispute>, names: bool },
    /// One payment for one or more invoices, and `extra` for none.
    Invoices { parts: Vec<i64>, extra: i64, listed: bool },
    /// One invoice as it was before 2025-03-31, with its payment.
    OldInvoice { amount: i64 },
    /// One invoice, paid by several payments.
    Instalments { parts: Vec<i64>, over: i64 },
    /// An invoice that was paid around Stripe.
    OutOfBand { old: bool, amount: i64 },
    /// A purchase with a receipt that looks like an invoice.
    Receipt { old: bool, amount: i64, named: bool },
    /// An invoice whose payment only hints at it.
    Hinted { amount: i64, whole: bool },
}

#[derive(Clone, Debug)]
struct Dispute {
    foreign: bool,
    end: &'static str,
    late: bool,
}

fn life() -> impl Strategy<Value = Life> {
    let amount = || 100..9000_i64;
    let end = prop_oneof![Just("needs_response"), Just("lost"), Just("won")];
    let dispute = (any::<bool>(), end, any::<bool>()).prop_map(|(foreign, end, late)| Dispute { foreign, end, late });
    let captured = prop_oneof![Just(0_u8), Just(40), Just(50), Just(100)];
    let refunds = proptest::collection::vec((prop_oneof![Just(25_u8), Just(50), Just(100)], any::<bool>()), 0..3);
    let card = (any::<bool>(), amount(), captured, refunds, proptest::option::of(dispute), any::<bool>()).prop_map(
        |(old, authorised, captured, refunds, dispute, names)| Life::Card {
            old,
            authorised,
            captured,
            refunds,
            dispute,
            names,
        },
    );
    prop_oneof![
        4 => card,
        2 => (proptest::collection::vec(amount(), 1..4), prop_oneof![Just(0_i64), Just(70)], any::<bool>())
            .prop_map(|(parts, extra, listed)| Life::Invoices { parts, extra, listed }),
        1 => amount().prop_map(|amount| Life::OldInvoice { amount }),
        1 => proptest::collection::vec(amount(), 2..4).prop_map(|parts| Life::Instalments { over: parts[0] / 3, parts }),
        1 => (any::<bool>(), amount()).prop_map(|(old, amount)| Life::OutOfBand { old, amount }),
        1 => (any::<bool>(), amount(), any::<bool>())
            .prop_map(|(old, amount, named)| Life::Receipt { old, amount, named }),
        1 => (amount(), any::<bool>()).prop_map(|(amount, whole)| Life::Hinted { amount, whole }),
    ]
}

/// What a life tells, and what it comes to.
struct Story {
    number: usize,
    version: &'static str,
    events: Vec<Value>,
    balance: i64,
    outside: i64,
}

impl Story {
    fn of(number: usize, life: &Life) -> Self {
        let old = match life {
            Life::Card { old, .. } | Life::OutOfBand { old, .. } | Life::Receipt { old, .. } => *old,
            Life::OldInvoice { .. } => true,
            Life::Invoices { .. } | Life::Instalments { .. } | Life::Hinted { .. } => false,
        };
        let version = if old { "2022-08-01" } else { "2025-10-29.clover" };
        let mut story = Self { number, version, events: Vec::new(), balance: 0, outside: 0 };
        match life {
            Life::Card { authorised, captured, refunds, dispute, names, .. } => {
                story.card(old, *authorised, *captured, refunds, dispute.as_ref(), *names);
            }
            Life::Invoices { parts, extra, listed } => story.invoices(parts, *extra, *listed),
            Life::OldInvoice { amount } => story.old_invoice(*amount),
            Life::Instalments { parts, over } => story.instalments(parts, *over),
            Life::OutOfBand { amount, .. } => story.out_of_band(old, *amount),
            Life::Receipt { amount, named, .. } => story.receipt(old, *amount, *named),
            Life::Hinted { amount, whole } => story.hinted(*amount, *whole),
        }
        story
    }

    /// Notes an event, `seconds` after the beginning.
    fn tell(&mut self, kind: &str, seconds: i64, object: Value) {
        let id = format!("evt_{}_{:02}", self.number, self.events.len());
        let created = EPOCH_SECONDS - 50_000 + seconds;
        let mut event = json!({"id": id, "object": "event", "type": kind, "created": created, "livemode": true,
            "api_version": self.version, "data": {}});
        event["data"]["object"] = object;
        self.events.push(event);
    }

    fn customer(&self) -> String {
        format!("cus_{}", self.number)
    }

    /// As long as Stripe's, and different within what a hint has of it.
    fn invoice_id(&self, place: usize) -> String {
        format!("in_1{}{place}{:0>21}", self.number, 0)
    }

    fn intent(&self, place: usize, amount: i64) -> Value {
        json!({"id": format!("pi_{}_{place}", self.number), "object": "payment_intent", "amount": amount,
            "amount_received": amount, "currency": "eur", "customer": self.customer(), "status": "succeeded",
            "latest_charge": format!("ch_{}_{place}", self.number)})
    }

    fn paid_invoice(&self, place: usize, amount: i64) -> Value {
        json!({"id": self.invoice_id(place), "object": "invoice", "status": "paid", "amount_due": amount,
            "amount_paid": amount, "amount_remaining": 0, "total": amount, "currency": "eur",
            "customer": self.customer()})
    }

    fn part(&self, place: usize, payment: usize, invoice: usize, amount: i64) -> Value {
        json!({"id": format!("inpay_{}_{place}", self.number), "object": "invoice_payment", "amount_paid": amount,
            "currency": "eur", "invoice": self.invoice_id(invoice), "status": "paid",
            "payment": {"type": "payment_intent", "payment_intent": format!("pi_{}_{payment}", self.number)}})
    }

    fn invoices(&mut self, parts: &[i64], extra: i64, listed: bool) {
        let amount = parts.iter().sum::<i64>() + extra;
        self.balance += amount;
        self.tell("payment_intent.succeeded", 0, self.intent(0, amount));
        for (place, &amount) in parts.iter().enumerate() {
            let part = self.part(place, 0, place, amount);
            let mut invoice = self.paid_invoice(place, amount);
            if listed {
                invoice["payments"] = json!({"data": [part.clone()], "has_more": false});
            }
            self.tell("invoice_payment.paid", 10, part);
            self.tell("invoice.paid", 10, invoice);
        }
    }

    fn old_invoice(&mut self, amount: i64) {
        self.balance += amount;
        let mut charge = self.charge(amount, amount, 0);
        charge["invoice"] = json!(self.invoice_id(0));
        let mut invoice = self.paid_invoice(0, amount);
        invoice["payment_intent"] = json!(format!("pi_{}_0", self.number));
        invoice["charge"] = charge["id"].clone();
        self.tell("charge.succeeded", 0, charge);
        // A day later, so that nothing but the names can tell.
        self.tell("invoice.paid", 86_400 / 2, invoice);
    }

    /// What is paid `over` the invoice's amount becomes the customer's credit.
    fn instalments(&mut self, parts: &[i64], over: i64) {
        let amount: i64 = parts.iter().sum();
        self.balance += amount;
        for (place, &amount) in parts.iter().enumerate() {
            let at = i64::try_from(place).unwrap() * 10_000;
            self.tell("payment_intent.succeeded", at, self.intent(place, amount));
            self.tell("invoice_payment.paid", at, self.part(place, place, 0, amount));
        }
        let mut invoice = self.paid_invoice(0, amount - over);
        invoice["amount_overpaid"] = json!(over);
        self.tell("invoice.paid", 30_000, invoice);
    }

    fn out_of_band(&mut self, old: bool, amount: i64) {
        self.outside += amount;
        let mut invoice = self.paid_invoice(0, amount);
        if old {
            invoice["amount_paid"] = json!(0);
            invoice["amount_remaining"] = json!(amount);
            invoice["paid_out_of_band"] = json!(true);
        } else {
            let mut part = self.part(0, 0, 0, amount);
            part["payment"] = json!({"type": "payment_record", "payment_record": format!("pr_{}", self.number)});
            self.tell("invoice_payment.paid", 0, part);
        }
        self.tell("invoice.paid", 0, invoice);
    }

    fn receipt(&mut self, old: bool, amount: i64, named: bool) {
        self.balance += amount;
        let session = json!({"id": format!("cs_{}", self.number), "object": "checkout.session", "mode": "payment",
            "payment_status": "paid", "payment_intent": format!("pi_{}_0", self.number), "amount_total": amount,
            "currency": "eur", "customer": self.customer(), "invoice": named.then(|| self.invoice_id(0))});
        let mut intent = self.intent(0, amount);
        if old {
            intent["invoice"] = Value::Null;
        }
        self.tell("payment_intent.succeeded", 0, intent);
        self.tell("checkout.session.completed", 2, session);
        self.tell("invoice.paid", 4, self.paid_invoice(0, amount));
    }

    fn hinted(&mut self, amount: i64, whole: bool) {
        self.balance += amount;
        let id = self.invoice_id(0);
        let mut intent = self.intent(0, amount);
        intent["payment_details"] = json!({"order_reference": if whole { &id } else { &id[..25] }});
        self.tell("payment_intent.succeeded", 0, intent);
        // Later than any match, so that the hint alone tells.
        self.tell("invoice.paid", 20_000, self.paid_invoice(0, amount));
    }

    fn charge(&self, authorised: i64, captured: i64, refunded: i64) -> Value {
        json!({"id": format!("ch_{}_0", self.number), "object": "charge", "amount": authorised,
            "amount_captured": captured, "captured": captured > 0, "amount_refunded": refunded, "currency": "eur",
            "customer": self.customer(), "payment_intent": format!("pi_{}_0", self.number), "status": "succeeded"})
    }

    fn refund(&self, place: usize, amount: i64, status: &str, names: bool) -> Value {
        let mut refund = json!({"id": format!("re_{}_{place}", self.number), "object": "refund", "amount": amount,
            "currency": "eur", "status": status, "balance_transaction": format!("txn_{}_{place}", self.number),
            "created": EPOCH_SECONDS - 50_000 + 100 * i64::try_from(place).unwrap()});
        if names {
            refund["charge"] = json!(format!("ch_{}_0", self.number));
        }
        refund
    }

    fn card(
        &mut self,
        old: bool,
        authorised: i64,
        captured: u8,
        refunds: &[(u8, bool)],
        dispute: Option<&Dispute>,
        names: bool,
    ) {
        let captured = authorised * i64::from(captured) / 100;
        let rest = authorised - captured;
        self.balance += captured;
        self.tell("charge.succeeded", 0, self.charge(authorised, 0, 0));
        let released = if old { rest } else { 0 };
        if captured > 0 {
            self.tell("charge.captured", 50, self.charge(authorised, captured, released));
            let mut intent = self.intent(0, authorised);
            intent["amount_received"] = json!(captured);
            self.tell("payment_intent.succeeded", 50, intent);
        }
        let mut listed = Vec::new();
        if released > 0 {
            let mut release = self.refund(0, released, "succeeded", names);
            if captured == 0 {
                release["balance_transaction"] = Value::Null;
            }
            listed.push(release.clone());
            release["charge"] = json!(format!("ch_{}_0", self.number));
            self.tell("charge.refund.updated", 50, release);
            self.refunded(50, authorised, captured, released, &listed);
        }
        let returned = self.refunds(old, (authorised, captured, released), refunds, listed, names);
        self.balance -= returned;
        if let Some(dispute) = dispute.filter(|_| captured > 0) {
            self.dispute(dispute, captured, returned);
        }
    }

    fn refunded(&mut self, at: i64, authorised: i64, captured: i64, total: i64, listed: &[Value]) {
        let mut charge = self.charge(authorised, captured, total);
        if self.version < "2022-11-15" {
            charge["refunds"] = json!({"data": listed, "has_more": false, "total_count": listed.len()});
            if captured == 0 {
                charge["amount_captured"] = Value::Null;
            }
        }
        self.tell("charge.refunded", at, charge);
    }

    /// Refunds of what was captured; returns what did not come back.
    fn refunds(
        &mut self,
        old: bool,
        (authorised, captured, released): (i64, i64, i64),
        refunds: &[(u8, bool)],
        mut listed: Vec<Value>,
        names: bool,
    ) -> i64 {
        let mut returned = 0;
        for (place, &(percent, fails)) in refunds.iter().enumerate() {
            let (place, at) = (place + 1, 1000 * (i64::try_from(place).unwrap() + 1));
            let amount = (captured * i64::from(percent) / 100).min(captured - returned);
            if amount == 0 {
                continue;
            }
            let kind = if old { "charge.refund.updated" } else { "refund.created" };
            self.tell(kind, at, self.refund(place, amount, "succeeded", true));
            listed.push(self.refund(place, amount, "succeeded", names));
            self.refunded(at, authorised, captured, released + returned + amount, &listed);
            if fails {
                let kind = if old { "charge.refund.updated" } else { "refund.failed" };
                self.tell(kind, at + 500, self.refund(place, amount, "failed", true));
                listed.pop();
            } else {
                returned += amount;
            }
        }
        returned
    }

    fn dispute(&mut self, dispute: &Dispute, amount: i64, returned: i64) {
        let (rate, currency) = if dispute.foreign { (1356, "cad") } else { (1000, "eur") };
        let withdrawn = amount * rate / 1000;
        let back = match dispute.end {
            "won" => withdrawn,
            "lost" => returned * rate / 1000,
            _ => 0,
        };
        let bookings: Vec<Value> = [-withdrawn, back]
            .into_iter()
            .filter(|amount| *amount != 0)
            .map(|amount| json!({"amount": amount, "currency": currency, "fee": 1500, "net": amount - 1500}))
            .collect();
        let object = |status: &str, bookings: &[Value]| {
            json!({"id": format!("du_{}", self.number), "object": "dispute", "amount": amount, "currency": "eur",
                "status": status, "charge": format!("ch_{}_0", self.number), "balance_transactions": bookings})
        };
        let early = if dispute.late { &bookings[..0] } else { &bookings[..1] };
        let (opened, taken) = (object("needs_response", early), object("needs_response", &bookings[..1]));
        let (closed, done) = (object(dispute.end, &bookings[..1]), object(dispute.end, &bookings));
        self.tell("charge.dispute.created", 9000, opened);
        self.tell("charge.dispute.funds_withdrawn", 9000, taken);
        if dispute.end != "needs_response" {
            self.tell("charge.dispute.closed", 9900, closed);
            self.tell("charge.dispute.updated", 9900, done.clone());
            self.tell("charge.dispute.funds_reinstated", 9900, done);
        }
        let left = withdrawn - back;
        // To the nearest minor unit of the dispute's own currency.
        self.balance -= (2 * amount * left + withdrawn) / (2 * withdrawn);
    }
}

/// What a few lives come to, whichever way their events come.
async fn comes_to_the_balance(store: &dyn Store, lives: &[Life], seed: u64) {
    let stories: Vec<Story> = lives.iter().enumerate().map(|(number, life)| Story::of(number, life)).collect();
    let balance: i64 = stories.iter().map(|story| story.balance).sum();
    let outside: i64 = stories.iter().map(|story| story.outside).sum();
    let bodies: Vec<Bytes> =
        stories.iter().flat_map(|story| &story.events).map(|event| Bytes::from(event.to_string())).collect();
    let (validator, mut random, mut before) = (validator(), fastrand::Rng::with_seed(seed), None);
    for _ in 0..3 {
        let batches = shuffled(&bodies, &mut random);
        let end = play(store, &validator, &batches).await;
        let sum = |amounts: &std::collections::BTreeMap<&str, i64>| amounts.values().sum::<i64>();
        assert_eq!(sum(&end.money(|line| line.outside_minor)), outside, "{batches:?}");
        assert_eq!(sum(&end.money(|line| line.net_minor)), balance + outside, "{batches:?}");
        let contents = store.contents().await;
        assert_eq!(*before.get_or_insert_with(|| contents.clone()), contents, "another order, other rows");
    }
    let recounted = recount_by(&validator, store, true).await;
    assert_eq!((recounted.total(), recounted.overtaken), (0, 0), "{recounted:?}: {bodies:?}");
}

fn run(store: &dyn Store, runtime: &tokio::runtime::Runtime, usual: u32) {
    let lives = (proptest::collection::vec(life(), 1..4), any::<u64>());
    let (mut runner, seed) = runner(usual);
    let held = runner.run(&lives, |(lives, seed)| {
        runtime.block_on(comes_to_the_balance(store, &lives, seed));
        Ok(())
    });
    assert!(held.is_ok(), "seed {seed}: {}", held.unwrap_err());
}

#[test]
fn net_is_the_balance_but_for_fees_on_sqlite() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Sqlite::hasty();
    run(&store, &runtime, 40);
}

#[test]
fn net_is_the_balance_but_for_fees_on_postgres() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Postgres::direct(Flavour::Plain));
    run(&store, &runtime, 12);
}
