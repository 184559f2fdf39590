//! Decides from all claims whose a subscription is.
//!
//! The strongest rank decides; the rank of a claim says what it is about ([`ClaimRank`]). Of several claims of one rank
//! about a subscription the newer holds, so that a seller may move it to another user. Claims of one rank about a
//! customer that name several users are contested: none of them counts, and the next weaker rank decides.
//!
//! The stores carry this rule in their own language (the view `subscription_owners`) and are tested against it.

use std::collections::BTreeMap;

use super::rows::{ClaimRank, ClaimRow};

/// Length of the part of a version's sort key that tells the moment and the kind of a content. Among contents that share
/// it, the one in the subscription's row is the later one.
pub const MOMENT_KEY_BYTES: usize = 24;

/// The owner of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// This user owns it.
    User(&'a str),
    /// No claim names a user.
    Unnamed,
    /// Only claims that contradict each other name users.
    Contested,
}

/// The owner of `subscription`, paid by `customer`, among `claims` about anything. `present` is the user that the metadata
/// of the subscription's row names; it breaks ties within a second.
pub fn owner<'a>(
    claims: impl IntoIterator<Item = &'a ClaimRow>,
    subscription: &str,
    customer: Option<&str>,
    present: Option<&str>,
) -> Owner<'a> {
    let mut by_rank: BTreeMap<ClaimRank, Vec<&ClaimRow>> = BTreeMap::new();
    for claim in claims {
        let subject = if claim.rank.is_of_customer() { customer } else { Some(subscription) };
        if subject == Some(claim.subject.as_str()) {
            by_rank.entry(claim.rank).or_default().push(claim);
        }
    }
    let mut contested = false;
    for (rank, claims) in by_rank.iter().rev() {
        let first = claims.first().map(|claim| claim.user_id.as_str());
        if rank.can_be_contested() && claims.iter().any(|claim| Some(claim.user_id.as_str()) != first) {
            contested = true;
            continue;
        }
        let place = |claim: &&&ClaimRow| {
            let key = claim.version.sort_key();
            let moment = key.get(..MOMENT_KEY_BYTES).unwrap_or_default().to_owned();
            (moment, Some(claim.user_id.as_str()) == present, key)
        };
        if let Some(newest) = claims.iter().max_by_key(place) {
            return Owner::User(&newest.user_id);
        }
    }
    if contested { Owner::Contested } else { Owner::Unnamed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::EventId;
    use crate::revenue::rows::{Rank, Standing, Version};

    fn claim(rank: ClaimRank, user: &str, at: i64) -> ClaimRow {
        ClaimRow {
            subject: if rank.is_of_customer() { "cus_1" } else { "sub_1" }.to_owned(),
            user_id: user.to_owned(),
            rank,
            evidence: String::new(),
            version: Version {
                standing: Standing::Current,
                at: Timestamp::from_seconds(at),
                rank: Rank::Updated,
                progress: 0,
                event: EventId::new(format!("evt_{user}")),
                rendering: None,
            },
        }
    }

    fn of(claims: &[ClaimRow]) -> Owner<'_> {
        owner(claims, "sub_1", Some("cus_1"), None)
    }

    #[test]
    fn the_strongest_rank_decides_whatever_came_later() {
        use ClaimRank::{Customer, Operator, OperatorOfCustomer, Purchase, Reference, Session, Subscription};
        let ranks = [Reference, Purchase, Customer, OperatorOfCustomer, Session, Subscription, Operator];
        for (place, rank) in ranks.into_iter().enumerate() {
            let mut claims: Vec<ClaimRow> = ranks[..place].iter().map(|weaker| claim(*weaker, "weaker", 9)).collect();
            claims.push(claim(rank, "user", 1));
            assert_eq!(of(&claims), Owner::User("user"), "{rank:?}");
        }
    }

    #[test]
    fn a_subscription_moves_with_the_newer_claim_and_a_customer_does_not() {
        let moved = [claim(ClaimRank::Subscription, "old", 1), claim(ClaimRank::Subscription, "new", 2)];
        assert_eq!(of(&moved), Owner::User("new"));
        let contested = [claim(ClaimRank::Customer, "old", 1), claim(ClaimRank::Customer, "new", 2)];
        assert_eq!(of(&contested), Owner::Contested);
        // An operator's word about the customer decides it, and of several the last.
        let mut decided = contested.to_vec();
        decided.push(claim(ClaimRank::OperatorOfCustomer, "first", 3));
        decided.push(claim(ClaimRank::OperatorOfCustomer, "second", 4));
        assert_eq!(of(&decided), Owner::User("second"));
        // A subscription with a claim of its own keeps its owner.
        decided.push(claim(ClaimRank::Session, "child", 0));
        assert_eq!(of(&decided), Owner::User("child"));
    }

    #[test]
    fn claims_about_others_say_nothing() {
        let mut other = claim(ClaimRank::Subscription, "user", 1);
        other.subject = "sub_2".to_owned();
        let claims = [other, claim(ClaimRank::Customer, "payer", 1)];
        assert_eq!(owner(&claims, "sub_1", None, None), Owner::Unnamed);
        assert_eq!(owner(&claims, "sub_2", Some("cus_1"), None), Owner::User("user"));
    }

    #[test]
    fn within_a_second_the_row_tells_which_claim_is_the_later() {
        let claims = [claim(ClaimRank::Subscription, "a", 1), claim(ClaimRank::Subscription, "b", 1)];
        assert_eq!(owner(&claims, "sub_1", None, Some("a")), Owner::User("a"));
        assert_eq!(owner(&claims, "sub_1", None, Some("b")), Owner::User("b"));
        assert_eq!(owner(&claims, "sub_1", None, None), Owner::User("b"));
    }
}
