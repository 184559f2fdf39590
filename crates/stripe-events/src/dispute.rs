//! A dispute of any API version: what the bank took.

use serde_json::Value;

use super::money::Decimal;
use super::object::Object;

/// A look at a dispute.
#[derive(Clone, Copy, Debug)]
pub struct Dispute<'a>(pub Object<'a>);

impl<'a> Dispute<'a> {
    /// Minor units, in the dispute's currency, that the bank took and did not give back; never negative.
    ///
    /// Balance transactions show this: withdrawals are negative, reinstatements are positive, and `amount` leaves the fees
    /// out. They are in the account's currency. If the dispute has another currency, the share that is still withdrawn is
    /// applied to the dispute's amount. An empty list says that the bank withdrew nothing: it does not withdraw a payment
    /// again that was refunded before, and some payment methods withhold only what is lost. The status decides only
    /// without a list.
    pub fn taken(self) -> Option<i64> {
        let disputed = self.0.at("amount").integer()?;
        let bookings = self.bookings()?;
        if bookings.withdrawn == 0 {
            return Some(if self.status_holds_money() && !self.lists_bookings() { disputed } else { 0 });
        }
        // The bank returns the money of a dispute that was won, though the booking may arrive later and at another
        // rate.
        if self.status() == Some("won") && (bookings.reinstated == 0 || bookings.foreign) {
            return Some(0);
        }
        let taken = bookings.withdrawn.checked_sub(bookings.reinstated)?.max(0);
        if bookings.foreign { Decimal::from(disputed).scale(taken, bookings.withdrawn)?.round() } else { Some(taken) }
    }

    /// How far the dispute got, to order contents of the same second. Every withdrawal and reinstatement is a step,
    /// and so is the end.
    pub fn progress(self) -> u64 {
        let bookings = self.0.at("balance_transactions").items().count() as u64;
        bookings.saturating_mul(2) + u64::from(self.is_over())
    }

    fn is_over(self) -> bool {
        matches!(self.status(), Some("won" | "lost" | "warning_closed" | "prevented" | "charge_refunded"))
    }

    fn status(self) -> Option<&'a str> {
        self.0.at("status").word()
    }

    /// Whether a list of balance transactions is here. A list of ids says nothing.
    fn lists_bookings(self) -> bool {
        let list = self.0.at("balance_transactions");
        let is_list = list.value().is_some_and(Value::is_array) || list.is_whole_list();
        is_list && list.items().all(|booking| booking.text().is_none())
    }

    /// Whether the bank holds the money of a dispute with this status. It does not while it only asks, nor after
    /// the dispute was won, nor if the charge was refunded instead (a status of old versions).
    fn status_holds_money(self) -> bool {
        !matches!(
            self.status(),
            Some(
                "won"
                    | "prevented"
                    | "charge_refunded"
                    | "warning_needs_response"
                    | "warning_under_review"
                    | "warning_closed"
            )
        )
    }

    /// `None` if an amount is missing or the sums are out of range.
    fn bookings(self) -> Option<Bookings> {
        let own = self.0.at("currency").word();
        let mut sums = Bookings { withdrawn: 0, reinstated: 0, foreign: false };
        for booking in self.0.at("balance_transactions").items() {
            // A list of ids has no amounts.
            if booking.text().is_some() {
                continue;
            }
            let amount = booking.at("amount").integer()?;
            if amount < 0 {
                sums.withdrawn = sums.withdrawn.checked_sub(amount)?;
            } else {
                sums.reinstated = sums.reinstated.checked_add(amount)?;
            }
            let theirs = booking.at("currency").word();
            sums.foreign |= matches!((own, theirs), (Some(own), Some(theirs)) if !own.eq_ignore_ascii_case(theirs));
        }
        Some(sums)
    }
}

/// Sums of a dispute's balance transactions, in minor units of the account's currency.
struct Bookings {
    withdrawn: i64,
    reinstated: i64,
    foreign: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dispute(status: &str, bookings: &[(i64, &str)]) -> Value {
        let list: Vec<Value> = bookings
            .iter()
            .map(|(amount, currency)| json!({"amount": amount, "currency": currency, "fee": 1500}))
            .collect();
        json!({"id": "du_1", "amount": 1000, "currency": "usd", "status": status, "balance_transactions": list})
    }

    #[test]
    fn what_the_bank_took_is_what_it_withdrew_less_what_it_gave_back() {
        let cases = [
            ("needs_response", vec![(-1000, "usd")], 1000),
            ("needs_response", vec![(-1356, "cad")], 1000),
            ("lost", vec![(-1000, "usd")], 1000),
            ("lost", vec![(-1000, "usd"), (300, "usd")], 700),
            ("lost", vec![(-1356, "cad"), (339, "cad")], 750),
            ("won", vec![(-1000, "usd"), (1000, "usd")], 0),
            ("won", vec![(-1356, "cad"), (1340, "cad")], 0),
            ("won", vec![(-1000, "usd")], 0),
            ("needs_response", vec![], 0),
            ("lost", vec![], 0),
            ("charge_refunded", vec![], 0),
            ("warning_needs_response", vec![], 0),
            ("warning_closed", vec![], 0),
        ];
        for (status, bookings, taken) in cases {
            let value = dispute(status, &bookings);
            assert_eq!(Dispute(Object::new(&value)).taken(), Some(taken), "{value}");
        }
    }

    #[test]
    fn a_dispute_without_a_list_is_told_by_its_status() {
        for (status, taken) in [("under_review", 5), ("won", 0), ("prevented", 0), ("charge_refunded", 0)] {
            let value = json!({"amount": 5, "currency": "eur", "status": status});
            assert_eq!(Dispute(Object::new(&value)).taken(), Some(taken), "{status}");
        }
        let ids = json!({"amount": 5, "currency": "eur", "status": "lost", "balance_transactions": ["txn_1"]});
        assert_eq!(Dispute(Object::new(&ids)).taken(), Some(5));
    }

    #[test]
    fn a_step_further_is_known_by_bookings_then_by_the_end() {
        let steps = [
            dispute("needs_response", &[]),
            dispute("needs_response", &[(-1000, "usd")]),
            dispute("lost", &[(-1000, "usd")]),
            dispute("lost", &[(-1000, "usd"), (300, "usd")]),
        ];
        assert!(
            steps
                .windows(2)
                .all(|pair| { Dispute(Object::new(&pair[0])).progress() < Dispute(Object::new(&pair[1])).progress() })
        );
    }
}
