//! `customer.*`: the customer and the user its metadata names.

use super::{Content, Projection};
use crate::revenue::rows::{ClaimRank, CustomerRow, Standing};
use crate::stripe::money::Currency;

impl<'a> Projection<'a> {
    pub(super) fn customer(&mut self, content: Content<'a>) {
        let object = content.object;
        let (Some(id), Some(raw)) = (object.at("id").id(), object.value()) else { return };
        let deleted = self.event.classic_kind() == "customer.deleted" || object.at("deleted").flag() == Some(true);
        let standing = if deleted { Standing::Final } else { Standing::Current };
        let user = self.user_in(object.at("metadata"), id);
        let currency = object.at("currency").word().and_then(Currency::parse);
        self.plan.customers.push(CustomerRow {
            id: id.to_owned(),
            version: self.version(content, standing),
            source: content.source,
            account: self.event.account.clone(),
            livemode: self.livemode(object),
            deleted,
            currency: currency.map(|currency| currency.as_str().to_owned()),
            delinquent: object.at("delinquent").flag(),
            // Until 2019 it was called `account_balance`.
            balance_minor: object.at("balance").integer().or_else(|| object.at("account_balance").integer()),
            metadata_user_id: user.as_ref().map(|user| user.id.clone().into_owned()),
            raw: self.raw(raw),
        });
        if let Some(user) = user {
            self.claim(ClaimRank::Customer, id, &user, "customer.metadata", content);
        }
    }
}
