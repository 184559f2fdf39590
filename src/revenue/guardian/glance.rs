//! What the built-in rules ask of an event.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Surroundings;
use super::builtin::BuiltinRule;
use super::injection::{self, Kind};
use crate::domain::counted::lasting;
use crate::domain::limits::WEBHOOK_BODY_BYTES_MAX;
use crate::stripe::event::{Event, Family};
use crate::stripe::invoice::Invoice;
use crate::stripe::metadata;
use crate::stripe::money::{AMOUNT_MAX, Currency};
use crate::stripe::object::Object;
use crate::stripe::subscription::Subscription;

/// Bounds of the built-in rules.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) livemode: Option<bool>,
    /// Connected accounts; `self` is the account itself. `None` allows all.
    pub(super) accounts: Option<Vec<String>>,
    pub(super) past_days: u32,
    pub(super) future_seconds: u32,
    pub(super) amount_max: i64,
    pub(super) amount_max_by_currency: BTreeMap<String, i64>,
    pub(super) currencies: Option<Vec<String>>,
    pub(super) bytes: usize,
    pub(super) depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            livemode: None,
            accounts: None,
            // Stripe keeps events for 30 days; older ones can only come from an archive.
            past_days: 35,
            future_seconds: 300,
            // In most currencies, Stripe's own largest amount has eight digits; in a few it has more.
            amount_max: 99_999_999,
            amount_max_by_currency: BTreeMap::from([("idr".to_owned(), 999_999_999_999)]),
            currencies: None,
            bytes: WEBHOOK_BODY_BYTES_MAX,
            depth: 40,
        }
    }
}

/// Fields of mapped objects that are amounts and never negative.
const AMOUNTS: [&str; 7] =
    ["amount", "amount_paid", "amount_due", "amount_total", "amount_received", "amount_captured", "amount_refunded"];

/// One look at an event, which all rules share.
pub(super) struct Glance<'a> {
    event: &'a Event,
    object: Object<'a>,
    surroundings: Surroundings<'a>,
    bounds: &'a Bounds,
    injections: Vec<(Kind, String)>,
}

impl<'a> Glance<'a> {
    pub(super) fn at(event: &'a Event, surroundings: Surroundings<'a>, bounds: &'a Bounds) -> Self {
        let object = event.object();
        let mut injections = Vec::new();
        // Of objects that are not mapped, the gateway writes only the event itself.
        if event.family != Family::Other
            && let Some(value) = object.value()
        {
            scan(value, &mut injections);
        }
        Self { event, object, surroundings, bounds, injections }
    }

    /// What a rule finds wrong with the event.
    pub(super) fn ask(&self, rule: BuiltinRule) -> Option<String> {
        match rule {
            BuiltinRule::Structure => self.structure(),
            BuiltinRule::IdForm => self.id_form(),
            BuiltinRule::IdPrefix => self.id_prefix(),
            BuiltinRule::Livemode => self.livemode(),
            BuiltinRule::Account => self.account(),
            BuiltinRule::EventAge => self.event_age(),
            BuiltinRule::PriceTier => self.price_tier(),
            BuiltinRule::PriceUnknown => self.price_unknown(),
            BuiltinRule::UserForm => self.user_form(),
            BuiltinRule::AmountForm => self.amount_form(),
            BuiltinRule::AmountMax => self.amount_max(),
            BuiltinRule::CurrencyForm => self.currency_form(),
            BuiltinRule::Currency => self.currency(),
            BuiltinRule::Size => self.size(),
            BuiltinRule::InjectionSql => self.injection(Kind::Sql, "SQL"),
            BuiltinRule::InjectionPath => self.injection(Kind::Path, "a path out of its directory"),
            BuiltinRule::InjectionScript => self.injection(Kind::Script, "script"),
        }
    }

    fn mapped(&self) -> bool {
        self.event.family != Family::Other
    }

    fn structure(&self) -> Option<String> {
        let expected = self.event.family.object_name()?;
        if self.event.thin {
            let related = self.event.related.is_some();
            return (!related).then(|| "the thin event names no related object".to_owned());
        }
        if self.object.at("object").text() != Some(expected) {
            return Some(format!("data.object is no {expected}"));
        }
        if self.object.at("id").id().is_none() {
            return Some("data.object.id is missing or longer than Stripe's identifiers are".to_owned());
        }
        let status_missing = self.event.family == Family::Subscription && self.object.at("status").word().is_none();
        status_missing.then(|| "data.object.status is missing".to_owned())
    }

    fn id_form(&self) -> Option<String> {
        if !self.event.id.as_str().starts_with("evt_") {
            return Some("the event's id does not begin with evt_".to_owned());
        }
        if !self.mapped() {
            return None;
        }
        let fields = ["id", "customer", "subscription", "invoice", "payment_intent", "charge"];
        let spoilt = |id: &str| !id.bytes().all(|byte| byte.is_ascii_graphic());
        let field = fields.into_iter().find(|field| self.object.at(field).id().is_some_and(spoilt))?;
        Some(format!("data.object.{field} is not an identifier"))
    }

    fn id_prefix(&self) -> Option<String> {
        let (prefixes, id) = (self.event.family.id_prefixes(), self.object.at("id").id()?);
        let fits = prefixes.is_empty() || prefixes.iter().any(|prefix| id.starts_with(prefix));
        (!fits).then(|| format!("data.object.id does not begin with {}", prefixes.join(" or ")))
    }

    fn livemode(&self) -> Option<String> {
        let (event, object) = (self.event.livemode, self.object.at("livemode").flag());
        if let (Some(event), Some(object)) = (event, object)
            && event != object
        {
            return Some(format!("the event says livemode {event}, its object {object}"));
        }
        let (expected, found) = (self.bounds.livemode?, event.or(object).unwrap_or(false));
        (expected != found).then(|| format!("livemode {expected} is expected, not {found}"))
    }

    fn account(&self) -> Option<String> {
        let allowed = self.bounds.accounts.as_ref()?;
        let account = self.event.account.as_deref().unwrap_or("self");
        let known = allowed.iter().any(|known| known == account);
        (!known).then(|| "the event is of an account that is not allowed".to_owned())
    }

    fn event_age(&self) -> Option<String> {
        let (now, created) = (self.surroundings.now, self.event.created);
        let future = Duration::from_secs(self.bounds.future_seconds.into());
        if created > now.plus(future) {
            return Some(format!("the event is {} from the future", lasting(created.since(now))));
        }
        let past = Duration::from_secs(u64::from(self.bounds.past_days) * 24 * 60 * 60);
        let old = created < now.minus(past);
        old.then(|| format!("the event is {} old", lasting(now.since(created))))
    }

    fn subscription(&self) -> Option<Subscription<'a>> {
        (self.event.family == Family::Subscription).then_some(Subscription(self.object))
    }

    fn price_tier(&self) -> Option<String> {
        let tiers = self.surroundings.tiers;
        let named = tiers.named(metadata::tier(self.object.at("metadata"))?);
        let items = self.subscription()?.items();
        let bought: Vec<&str> =
            items.iter().filter_map(|item| item.price_id()).filter_map(|price| tiers.of_price(price)).collect();
        let differ = !bought.is_empty() && named.is_none_or(|named| !bought.contains(&named));
        differ
            .then(|| format!("the price buys {}, metadata says {}", bought.join(" and "), named.unwrap_or("otherwise")))
    }

    fn price_unknown(&self) -> Option<String> {
        let tiers = self.surroundings.tiers;
        let items = self.subscription()?.items();
        let known = items.iter().filter_map(|item| item.price_id()).any(|price| tiers.of_price(price).is_some());
        let unknown = tiers.knows_prices() && !known;
        unknown.then(|| "no price of the subscription is in the price map; add it to the configuration".to_owned())
    }

    fn user_form(&self) -> Option<String> {
        let places = [self.object.at("metadata"), Invoice(self.object).subscription_metadata()];
        let spoilt = self.mapped() && places.into_iter().any(|place| self.surroundings.user_fields.name_nobody(place));
        spoilt.then(|| "metadata names a user by a value that is no identifier".to_owned())
    }

    fn amounts(&self) -> impl Iterator<Item = (&'static str, Object<'a>)> {
        let object = self.object;
        let asked = self.mapped().then_some(AMOUNTS).into_iter().flatten();
        asked.map(move |field| (field, object.at(field))).filter(|(_, amount)| amount.is_some())
    }

    fn amount_form(&self) -> Option<String> {
        let bad = |(_, amount): &(&str, Object<'_>)| {
            amount.integer().is_none_or(|amount| !(0..=AMOUNT_MAX).contains(&amount))
        };
        let (field, _) = self.amounts().find(bad)?;
        Some(format!("data.object.{field} is no whole number of minor units from 0 to {AMOUNT_MAX}"))
    }

    fn amount_max(&self) -> Option<String> {
        let code = self.object.at("currency").word().map(str::to_ascii_lowercase);
        let by_currency = code.and_then(|code| self.bounds.amount_max_by_currency.get(&code));
        let max = by_currency.copied().unwrap_or(self.bounds.amount_max);
        let above = |(_, amount): &(&str, Object<'_>)| amount.integer().is_some_and(|amount| amount > max);
        let (field, _) = self.amounts().find(above)?;
        Some(format!("data.object.{field} is above {max}"))
    }

    fn currency_form(&self) -> Option<String> {
        let place = self.object.at("currency");
        let spoilt = self.mapped() && place.is_some() && place.word().and_then(Currency::parse).is_none();
        spoilt.then(|| "data.object.currency is not a currency code".to_owned())
    }

    fn currency(&self) -> Option<String> {
        let allowed = self.bounds.currencies.as_ref()?;
        let code = self.object.at("currency").word().and_then(Currency::parse)?;
        let known = allowed.iter().any(|known| known == code.as_str());
        (self.mapped() && !known).then(|| format!("currency {code} is not expected"))
    }

    fn size(&self) -> Option<String> {
        let (bytes, depth) = (self.surroundings.body_bytes, depth(&self.event.value));
        if bytes > self.bounds.bytes {
            return Some(format!("the event has {bytes} bytes, more than {}", self.bounds.bytes));
        }
        (depth > self.bounds.depth)
            .then(|| format!("the event is nested {depth} deep, more than {}", self.bounds.depth))
    }

    fn injection(&self, kind: Kind, what: &str) -> Option<String> {
        let (_, place) = self.injections.iter().find(|(found, _)| *found == kind)?;
        Some(format!("{place} looks like {what}"))
    }
}

/// Levels of nesting. The parser stops at 128, which bounds the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Searches all metadata below a value, and the buyer's reference. The parser bounds the recursion.
fn scan(value: &Value, found: &mut Vec<(Kind, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| scan(item, found)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match key.as_str() {
                    "metadata" => scan_metadata(Object::new(field), found),
                    "client_reference_id" => {
                        let kind = field.as_str().and_then(injection::look);
                        found.extend(kind.map(|kind| (kind, "client_reference_id".to_owned())));
                    }
                    _ => scan(field, found),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn scan_metadata(metadata: Object<'_>, found: &mut Vec<(Kind, String)>) {
    for (key, value) in metadata.fields() {
        let kind = injection::look(key).or_else(|| value.text().and_then(injection::look));
        found.extend(kind.map(|kind| (kind, format!("metadata.{}", shown(key)))));
    }
}

/// A metadata key, unless it could be more than the name of a field.
fn shown(key: &str) -> &str {
    let plain = key.len() <= 40 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain { key } else { "(field)" }
}
