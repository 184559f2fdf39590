//! The rest of lists of which an object shows a part: Stripe lists ten in an event, and in a fetched object; of the payments
//! of a paid invoice none.
//!
//! Addresses are made of what the list belongs to, never taken from an event. How far is asked has a bound; what is beyond
//! it leaves the list as partial as it was.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use super::{ApiError, Fetched, PAGE_MAX, Page, Scope, StripeApi};
use crate::stripe::invoice::Invoice;
use crate::stripe::object::Object;

/// Most pages that are requested of one list, with [`PAGE_MAX`] each.
pub const LIST_PAGES_MAX: usize = 10;

/// The lists that are read, each with its kind of object.
const LISTS: [(&str, &str); 4] =
    [("subscription", "items"), ("charge", "refunds"), ("invoice", "lines"), ("invoice", "payments")];

/// The missing part of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rest {
    /// Field of the list in its object.
    pub field: &'static str,
    /// The object's id.
    pub of: String,
    /// The last listed item.
    after: Option<String>,
}

/// The missing parts of an object's lists.
pub fn missing(object: Object<'_>) -> Vec<Rest> {
    let (kind, Some(id)) = (object.at("object").word(), object.at("id").id()) else { return Vec::new() };
    let lists = LISTS.into_iter().filter(|(owner, field)| kind == Some(*owner) && object.at(field).is_partial_list());
    let rest = lists.map(|(_, field)| {
        let after = object.at(field).items().last().and_then(|last| last.at("id").id()).map(str::to_owned);
        Rest { field, of: id.to_owned(), after }
    });
    let hidden = kind == Some("invoice") && Invoice(object).hides_payments();
    let all = Rest { field: "payments", of: id.to_owned(), after: None };
    rest.chain(hidden.then_some(all)).collect()
}

/// Adds the missing part to a list, which is then complete.
pub fn complete(object: &mut Value, rest: &Rest, more: Vec<Value>) {
    if let Some(fields) = object.as_object_mut().filter(|fields| !fields.contains_key(rest.field)) {
        fields.insert(rest.field.to_owned(), json!({"object": "list", "data": [], "has_more": true}));
    }
    let Some(list) = object.get_mut(rest.field) else { return };
    if let Some(data) = list.get_mut("data").and_then(Value::as_array_mut) {
        data.extend(more);
        let all = data.len();
        list["has_more"] = false.into();
        if list.get("total_count").is_some() {
            list["total_count"] = all.into();
        }
    }
}

impl StripeApi {
    /// The missing part of a list, as far as the bound allows.
    pub async fn rest(&self, rest: &Rest, scope: &Scope, within: Duration) -> Result<Vec<Value>, ApiError> {
        let begin = self.clock.instant();
        let (mut found, mut after) = (Vec::new(), rest.after.clone());
        for _ in 0..LIST_PAGES_MAX {
            let url = self.address_of(rest, after.as_deref())?;
            let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
            let page = Page::read(self.get(url, scope, left).await?)?;
            after = page.last_id().map(str::to_owned);
            let more = page.has_more && after.is_some();
            found.extend(page.objects);
            if !more {
                return Ok(found);
            }
        }
        Err(ApiError::TooLarge)
    }

    /// The address of the part of a list after `after`.
    fn address_of(&self, rest: &Rest, after: Option<&str>) -> Result<Url, ApiError> {
        let (mut url, owner) = match rest.field {
            "items" => (self.address(&["v1", "subscription_items"])?, Some("subscription")),
            "refunds" => (self.address(&["v1", "refunds"])?, Some("charge")),
            "lines" => (self.address(&["v1", "invoices", &rest.of, "lines"])?, None),
            _ => (self.address(&["v1", "invoice_payments"])?, Some("invoice")),
        };
        let limit = PAGE_MAX.to_string();
        let owner = owner.map(|owner| (owner, rest.of.as_str()));
        let after = after.map(|after| ("starting_after", after));
        url.query_pairs_mut().extend_pairs(owner.into_iter().chain([("limit", limit.as_str())]).chain(after));
        Ok(url)
    }

    /// An object with all of its lists complete, as far as Stripe answers in time.
    pub(super) async fn whole(&self, mut fetched: Fetched, scope: &Scope, within: Duration) -> Fetched {
        let begin = self.clock.instant();
        for rest in missing(Object::new(&fetched.object)) {
            let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
            match self.rest(&rest, scope, left).await {
                Ok(more) => complete(&mut fetched.object, &rest, more),
                Err(error) => {
                    tracing::warn!(object = rest.of, list = rest.field, %error, "Stripe did not give the rest of a list");
                }
            }
        }
        fetched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_list_says_what_it_lacks_and_is_whole_with_the_rest() {
        let mut object = json!({"id": "sub_1", "object": "subscription", "lines": {"data": [], "has_more": true},
            "items": {"data": [{"id": "si_1"}], "has_more": true, "total_count": 2}});
        let missing_now = missing(Object::new(&object));
        let rest = Rest { field: "items", of: "sub_1".to_owned(), after: Some("si_1".to_owned()) };
        assert_eq!(missing_now, std::slice::from_ref(&rest));
        complete(&mut object, &rest, vec![json!({"id": "si_2"}), json!({"id": "si_3"})]);
        assert_eq!(missing(Object::new(&object)), []);
        assert_eq!(object["items"]["total_count"], 3);
    }

    #[test]
    fn the_payments_of_a_paid_invoice_are_asked_for_where_it_does_not_list_them() {
        let mut invoice = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 5});
        let all = Rest { field: "payments", of: "in_1".to_owned(), after: None };
        assert_eq!(missing(Object::new(&invoice)), std::slice::from_ref(&all));
        complete(&mut invoice, &all, vec![json!({"id": "inpay_1"})]);
        assert_eq!(invoice["payments"], json!({"object": "list", "data": [{"id": "inpay_1"}], "has_more": false}));
        assert_eq!(missing(Object::new(&invoice)), []);
    }
}
