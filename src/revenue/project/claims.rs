//! What an event says about users.

use super::{Content, Projection, UserIds};
use crate::domain::clock::Timestamp;
use crate::revenue::rows::{BindingKind, ClaimRank, ClaimRow, Rank, Severity, Standing, Version};
use crate::stripe::metadata::{self, NamedUser};
use crate::stripe::object::Object;

impl<'a> Projection<'a> {
    /// Notes that `place` names `user` for `subject`, which is a subscription or a customer by `rank`.
    pub(super) fn claim(
        &mut self,
        rank: ClaimRank,
        subject: &str,
        user: &NamedUser<'_>,
        place: &str,
        content: Content<'_>,
    ) {
        let version = self.version(content, Standing::Current);
        self.claim_at(rank, subject, user, place, version);
    }

    /// As [`Self::claim`], for evidence from another time than the content's. If one event names several users for one
    /// subject with equal weight, the first counts, because a plan must not contradict itself.
    pub(super) fn claim_at(
        &mut self,
        rank: ClaimRank,
        subject: &str,
        user: &NamedUser<'_>,
        place: &str,
        version: Version,
    ) {
        let evidence = format!("{place}.{}", user.field);
        if self.context.settings.user_ids == UserIds::Uuid && !metadata::is_uuid(&user.id) {
            let detail = format!("{evidence} is no UUID, as users here are; it was not used");
            self.finding("user_unusable", Severity::Warning, subject, detail);
            return;
        }
        if let Some(first) = self.plan.claims.iter().find(|row| row.rank == rank && row.subject == subject) {
            if first.user_id != user.id {
                let detail = format!("{} and {evidence} differ; the first was taken", first.evidence);
                self.finding("binding_evidence", Severity::Warning, subject, detail);
            }
            return;
        }
        let (subject, user_id) = (subject.to_owned(), user.id.clone().into_owned());
        self.plan.claims.push(ClaimRow { subject, user_id, rank, evidence, version });
    }

    /// The user that an object's metadata names. A name that is not an id (`undefined`) is a finding.
    pub(super) fn user_in(&mut self, metadata: Object<'a>, subject: &str) -> Option<NamedUser<'a>> {
        let fields = &self.context.settings.user_fields;
        if fields.name_nobody(metadata) {
            let detail = "metadata names a user by a value that is no identifier; it was not used".to_owned();
            self.finding("user_unusable", Severity::Warning, subject, detail);
        }
        fields.user(metadata)
    }

    /// The user that a session's reference names, unless references are configured to name something else.
    pub(super) fn reference(&self, session: Object<'a>) -> Option<NamedUser<'a>> {
        let place = session.at("client_reference_id");
        let id = metadata::user_id(place).filter(|_| !self.context.settings.references_name_others)?;
        Some(NamedUser { id, field: "client_reference_id" })
    }

    /// An event that a rule holds says nothing about access.
    pub(super) fn withhold_grants(&mut self) {
        self.plan.claims.clear();
        self.plan.bindings.retain(|row| row.kind != BindingKind::SubscriptionTier);
    }

    /// A person vouches for the event, so the user that the seller's code names there becomes the operator's own word,
    /// about the subscription if there is one. Its version is the moment of the release, so that a retry says the same.
    pub(super) fn take_for_the_operators_word(&mut self, released_at: Timestamp) {
        let event = self.event.id.clone();
        let version = Version {
            standing: Standing::Final,
            at: released_at,
            rank: Rank::Released,
            progress: 0,
            event,
            rendering: None,
        };
        let mut claims: Vec<&ClaimRow> = self.plan.claims.iter().collect();
        claims.sort_by_key(|row| std::cmp::Reverse(row.rank));
        let mut words: Vec<ClaimRow> = Vec::new();
        for claim in claims {
            let Some(rank) = claim.rank.when_released() else { continue };
            let said = words.iter().any(|word| !word.rank.is_of_customer() || word.subject == claim.subject);
            if rank.is_of_customer() && said || words.iter().any(|word| word.subject == claim.subject) {
                continue;
            }
            words.push(ClaimRow { rank, version: version.clone(), ..claim.clone() });
        }
        self.plan.claims.extend(words);
    }
}
