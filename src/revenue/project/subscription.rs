//! `customer.subscription.*` and every subscription fetched on account of another event.

use std::time::Duration;

use serde_json::Value;

use super::{Content, Projection, Settings};
use crate::domain::clock::Timestamp;
use crate::revenue::rows::{ClaimRank, ProjectedStatus, RawJson, Severity, Source, Standing, SubscriptionRow, Version};
use crate::stripe::event::Family;
use crate::stripe::metadata;
use crate::stripe::money::{AMOUNT_MAX, Currency, Decimal};
use crate::stripe::object::Object;
use crate::stripe::subscription::{Item, Subscription};

/// Longest plausible time to pay, in days.
const DAYS_UNTIL_DUE_MAX: u64 = 3650;

/// The meaning of a status. Statuses that Stripe adds later are kept as they are and mean nothing.
struct Meaning {
    projected: Option<ProjectedStatus>,
    entitles: bool,
    standing: Standing,
    /// Its rank among a user's subscriptions; the best is the highest.
    rank: u8,
    /// Whether recurring revenue counts.
    recurs: bool,
    /// Whether another period follows.
    renews: bool,
}

/// What a content gives its user.
struct Gives {
    /// Whether it was sold on a connected account that gives nothing here.
    foreign: bool,
    /// Whether collection is paused.
    pausing: bool,
    entitles: bool,
    /// When access resumes, if a pause withholds it.
    access_from: Option<Timestamp>,
}

fn meaning(status: &str, settings: &Settings) -> Option<Meaning> {
    use ProjectedStatus::{Active, Canceled, Expired, PastDue, Paused};
    use Standing::{Current, Final, Provisional};
    let (projected, entitles, standing, rank, recurs) = match status {
        "active" => (Some(Active), true, Current, 7, true),
        "trialing" => (Some(Active), true, Current, 6, false),
        "past_due" => (Some(PastDue), true, Current, 5, true),
        "unpaid" => (Some(PastDue), settings.unpaid_entitles, Current, 4, false),
        "paused" => (Some(Paused), false, Current, 3, false),
        "canceled" => (Some(Canceled), false, Final, 2, false),
        "incomplete_expired" => (Some(Expired), false, Final, 1, false),
        "incomplete" => (None, false, Provisional, 0, false),
        _ => return None,
    };
    let renews = matches!(status, "active" | "trialing" | "past_due");
    Some(Meaning { projected, entitles, standing, rank, recurs, renews })
}

/// The tier of a subscription with the item that gives it: the best over the items. A price with a configured tier decides;
/// else the metadata of the price, the product or the plan, of the item and of the subscription; else the fallback. An item
/// with a quantity of zero gives nothing while another one is bought.
fn tier_of<'a, 'b>(object: Object<'a>, settings: &'b Settings) -> (Option<&'b str>, Option<Item<'a>>) {
    let tiers = &settings.tiers;
    let mut best: (Option<&str>, Option<Item<'_>>) = (None, None);
    let items = Subscription(object).items();
    let is_bought = |item: &Item<'_>| item.quantity() != Some(0);
    let any_is_bought = items.iter().any(is_bought);
    for item in items.into_iter().filter(|item| is_bought(item) || !any_is_bought) {
        let by_price = || item.price_id().and_then(|price| tiers.of_price(price));
        let by_metadata = || {
            let places =
                ["price.metadata", "price.product.metadata", "plan.metadata", "plan.product.metadata", "metadata"];
            places.into_iter().find_map(|path| tiers.named(metadata::tier(item.0.path(path))?))
        };
        let tier = by_price().or_else(by_metadata);
        if best.1.is_none() || tiers.rank(tier) > tiers.rank(best.0) {
            best = (tier, Some(item));
        }
    }
    let (tier, item) = best;
    let by_subscription = || metadata::tier(object.at("metadata")).and_then(|name| tiers.named(name));
    (tier.or_else(by_subscription).or_else(|| tiers.fallback()), item)
}

impl<'a> Projection<'a> {
    /// A fetched subscription takes the place of the event's own object.
    pub(super) fn subscription_event(&mut self, own: Content<'a>) {
        if !self.fetched_subscription(own.object.at("id").id()) {
            self.subscription(own);
            self.expanded_customer(own);
        }
    }

    /// The customer that was fetched along with a subscription: its metadata may name the user.
    fn expanded_customer(&mut self, content: Content<'a>) {
        let customer = content.object.customer();
        if content.source == Source::Fetch && customer.at("object").text() == Some("customer") {
            self.customer(Content { object: customer, ..content });
        }
    }

    /// Adds the subscription `id` as fetched, if it was. Returns whether it was.
    pub(super) fn fetched_subscription(&mut self, id: Option<&str>) -> bool {
        let Some(fetched) = self.context.subscription else { return false };
        let content = self.fetched(fetched);
        if id.is_none() || content.object.at("id").id() != id || content.object.at("status").word().is_none() {
            return false;
        }
        self.subscription(content);
        self.expanded_customer(content);
        true
    }

    fn subscription(&mut self, content: Content<'a>) {
        let Some(row) = self.subscription_row(content) else { return };
        let object = content.object;
        if let Some(user) = self.user_in(object.at("metadata"), &row.id) {
            // The claim is not about the customer, because a parent may pay for two users.
            self.claim(ClaimRank::Subscription, &row.id, &user, "subscription.metadata", content);
        }
        self.plan.subscriptions.push(row);
    }

    /// Whether a content gives access, and whether a pause of collection stops that. A pause that ended before the moment
    /// of the content is over, whether or not Stripe has said so.
    fn gives(&self, content: Content<'a>, meaning: Option<&Meaning>) -> Gives {
        let (subscription, settings) = (Subscription(content.object), self.context.settings);
        // A subscription that a creator sells on a connected account gives nothing on the platform.
        let foreign = self.event.account.is_some() && !settings.connect_entitles;
        let resumes_at = subscription.resumes_at();
        let pausing = subscription.collection_paused() && resumes_at.is_none_or(|end| end > content.at);
        let withheld = pausing && settings.pause_withholds;
        let entitles =
            !foreign && meaning.is_some_and(|meaning| meaning.entitles) && (!withheld || resumes_at.is_some());
        Gives { foreign, pausing, entitles, access_from: resumes_at.filter(|_| entitles && withheld) }
    }

    #[expect(clippy::too_many_lines, reason = "a line for each column")]
    fn subscription_row(&mut self, content: Content<'a>) -> Option<SubscriptionRow> {
        let (object, settings) = (content.object, self.context.settings);
        let subscription = Subscription(object);
        let id = object.at("id").id()?;
        let (mut status, raw) = (subscription.status()?, object.value()?);
        if self.event.classic_kind() == "customer.subscription.deleted" && !matches!(status, "incomplete_expired") {
            status = "canceled";
        }
        let meaning = meaning(status, settings);
        if meaning.is_none() {
            let detail = "Stripe gave a status that is not known; the subscription is recorded, not projected";
            self.finding("status_unknown", Severity::Warning, id, detail.to_owned());
        }
        let standing = meaning.as_ref().map_or(Standing::Current, |meaning| meaning.standing);
        let resumes_at = subscription.resumes_at();
        let Gives { foreign, pausing, entitles, access_from } = self.gives(content, meaning.as_ref());
        let recurs = meaning.as_ref().is_some_and(|meaning| meaning.recurs);
        let monthly = if recurs { monthly(subscription) } else { 0 };
        let (tier, item) = tier_of(object, settings);
        let will_cancel = subscription.cancel_at_period_end() || subscription.cancel_at().is_some();
        let (late, method) = (status == "past_due", subscription.collection_method());
        let tier_rank = settings.tiers.rank(tier);
        let (created, livemode) = (object.at("created").time(), self.livemode(object));
        let place = (meaning.as_ref().map_or(0, |meaning| meaning.rank), tier_rank);
        let time = |key: &str| object.at(key).time();
        let period_end = subscription.current_period_end();
        let end = period_end.and_then(|end| u64::try_from(end.millis()).ok()).unwrap_or(0);
        let priced_in = subscription.priced_in().unwrap_or_default();
        let progress = if content.source == Source::Fetch { content.progress } else { end };
        let text = |text: Option<&str>| text.map(str::to_owned);
        Some(SubscriptionRow {
            id: id.to_owned(),
            version: Version { progress, ..self.version(content, standing) },
            source: content.source,
            account: self.event.account.clone(),
            livemode,
            customer_id: text(object.customer().id()),
            status: status.to_owned(),
            projected_status: meaning.as_ref().filter(|_| !foreign).and_then(|meaning| meaning.projected),
            entitles,
            access_from,
            preference: preference(livemode, entitles, place, created, id),
            tier: text(tier),
            tier_rank: i64::try_from(tier_rank).unwrap_or(0),
            price_id: text(item.and_then(Item::price_id)),
            product_id: text(item.and_then(Item::product_id)),
            quantity: item.and_then(Item::quantity),
            currency: subscription.priced_in().and_then(Currency::parse).map(|code| code.as_str().to_owned()),
            unit_amount: item.and_then(|item| item.unit_amount(priced_in)).and_then(Decimal::to_integer),
            interval: text(item.and_then(Item::interval)),
            interval_count: item.and_then(Item::interval_count),
            items: subscription.item_count(),
            partial: object.at("items").is_partial_list(),
            mrr_minor: if pausing { 0 } else { monthly },
            resumed_mrr_minor: (pausing && resumes_at.is_some()).then_some(monthly),
            created,
            started_at: time("start_date"),
            current_period_start: subscription.current_period_start(),
            current_period_end: period_end,
            will_cancel,
            will_renew: !will_cancel && meaning.is_some_and(|meaning| meaning.renews),
            cancel_at_period_end: subscription.cancel_at_period_end(),
            cancel_at: subscription.cancel_at(),
            canceled_at: time("canceled_at"),
            ended_at: time("ended_at"),
            trial_start: time("trial_start"),
            trial_end: time("trial_end"),
            pause_behavior: text(object.path("pause_collection.behavior").word()),
            pause_resumes_at: resumes_at,
            collection_method: text(method),
            grace_days: settings.grace.days(tier, method).filter(|_| late && entitles).map(i64::from),
            late_hint: if late { self.late_hint(subscription) } else { None },
            latest_invoice_id: text(object.at("latest_invoice").id()),
            metadata_user_id: self.named_user(object),
            raw: collapsed(raw).map_or_else(|| self.raw(raw), |collapsed| RawJson::from_value(&collapsed)),
        })
    }
}

impl Projection<'_> {
    /// When a subscription that is late now became late, as far as this event tells. An update that changed the status
    /// tells it exactly. A fetch cannot; its latest invoice was due then, or its period began.
    fn late_hint(&self, subscription: Subscription<'_>) -> Option<Timestamp> {
        // What a thin event is about was fetched, and is late now.
        let own = if self.event.thin { subscription.0 } else { self.event.object() };
        if self.event.family == Family::Subscription
            && own.at("status").word() == Some("past_due")
            && self.event.previous().at("status").is_some()
        {
            return Some(self.event.created);
        }
        let invoice = subscription.0.at("latest_invoice");
        let mut due = ["due_date", "status_transitions.finalized_at"].into_iter();
        due.find_map(|place| invoice.path(place).time()).or_else(|| {
            let days = subscription.0.at("days_until_due").integer().and_then(|days| u64::try_from(days).ok());
            let start = subscription.current_period_start()?;
            Some(start.plus(Duration::from_secs(days.unwrap_or(0).min(DAYS_UNTIL_DUE_MAX) * 86_400)))
        })
    }
}

/// A live subscription ranks above any of test mode, so that a test never overrides what a user pays for. Then one that
/// entitles ranks above one that does not. Among those that entitle, the better tier comes first; among the others, the
/// livelier status. Then comes the one made later, and at last the identifier, so that no two are equal.
fn preference(
    livemode: bool,
    entitles: bool,
    (status, tier): (u8, usize),
    created: Option<Timestamp>,
    id: &str,
) -> String {
    let (live, created) = (u8::from(livemode), created.map_or(0, Timestamp::seconds));
    if entitles {
        format!("{live}.1.{tier:02}.{status:02}.{created:012}.{id}")
    } else {
        format!("{live}.0.{status:02}.{tier:02}.{created:012}.{id}")
    }
}

/// The subscription as an event would show it: objects expanded for the checks become identifiers again. `None` if none
/// was.
fn collapsed(raw: &Value) -> Option<Value> {
    let expanded = |key: &'static str| Some((key, Object::new(raw.get(key)?).at("id").id()?.to_owned()));
    let ids: Vec<_> = ["customer", "customer_account", "latest_invoice"].into_iter().filter_map(expanded).collect();
    (!ids.is_empty()).then(|| {
        let mut raw = raw.clone();
        for (key, id) in ids {
            raw[key] = Value::String(id);
        }
        raw
    })
}

/// The monthly price of all items together, in minor units, rounded once. Items without an amount in this currency count
/// nothing.
fn monthly(subscription: Subscription<'_>) -> i64 {
    let currency = subscription.priced_in().unwrap_or_default();
    let items = subscription.items().into_iter().filter_map(|item| item.monthly(currency));
    let sum = items.fold(Decimal::ZERO, |sum, amount| sum.plus(amount).unwrap_or(sum));
    sum.round().filter(|sum| sum.unsigned_abs() <= AMOUNT_MAX.unsigned_abs()).unwrap_or(0)
}
