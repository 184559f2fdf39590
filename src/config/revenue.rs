//! What entitles, who a user is, and which price is which tier.

use std::path::PathBuf;

use stripe_events::metadata::{USER_FIELDS, UserFields, UserFieldsError};

use super::parse::{boolean, path};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::revenue::grace::Grace;

const PRICE_BRONZE: Setting = setting(
    "stripe.price_bronze",
    "STRIPE_PRICE_BRONZE",
    "Stripe price ids (price_…) of the tier bronze, separated by commas.",
);
const PRICE_SILVER: Setting = setting(
    "stripe.price_silver",
    "STRIPE_PRICE_SILVER",
    "Stripe price ids (price_…) of the tier silver, separated by commas.",
);
const PRICE_GOLD: Setting = setting(
    "stripe.price_gold",
    "STRIPE_PRICE_GOLD",
    "Stripe price ids (price_…) of the tier gold, separated by commas.",
);
const GUARDIAN_RULES: Setting = setting(
    "revenue.guardian_rules",
    "GATEWAY_GUARDIAN_RULES",
    "File with rules that hold events back or flag them. Unset: the built-in rules alone.",
);
const USER_IDS: Setting = setting(
    "revenue.user_ids",
    "GATEWAY_USER_IDS",
    "Which ids of users the gateway accepts. `auto` and `any` accept any word; `uuid` accepts only UUIDs.",
)
.takes(Form::Words(&["auto", "uuid", "any"]));
const UNPAID_ENTITLES: Setting = setting(
    "revenue.unpaid_entitles",
    "GATEWAY_UNPAID_ENTITLES",
    "Whether a user keeps access while the subscription is `unpaid`.",
)
.takes(Form::Boolean);
const FIELDS: Setting = setting(
    "revenue.user_fields",
    "GATEWAY_USER_FIELDS",
    "Fields of Stripe metadata that name a user, in order, separated by commas.",
);
const REFERENCE_IS_USER: Setting =
    setting("revenue.reference_is_user", "GATEWAY_REFERENCE_IS_USER", "Whether `client_reference_id` names a user.")
        .takes(Form::Boolean);
const PAUSE_ENTITLES: Setting =
    setting("revenue.pause_entitles", "GATEWAY_PAUSE_ENTITLES", "Whether access goes on while collection is paused.")
        .takes(Form::Boolean);
const PAST_DUE_GRACE: Setting = setting(
    "revenue.past_due_grace",
    "GATEWAY_PAST_DUE_GRACE",
    "How long late payers keep access, in days by tier and way of collecting, such as `gold=30, \
     */send_invoice=45, *=14`. `none`: until Stripe ends the subscription.",
);
const CONNECT_ENTITLES: Setting = setting(
    "revenue.connect_entitles",
    "GATEWAY_CONNECT_ENTITLES",
    "Whether a subscription on a connected account gives a tier on the platform.",
)
.takes(Form::Boolean);

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct RevenueConfig {
    /// Stripe price ids and the tier each stands for.
    pub tiers: Vec<(String, &'static str)>,
    /// Rules file of the Guardian; the built-in rules alone without it.
    pub guardian_rules: Option<PathBuf>,
    /// Whether a user keeps access while the subscription is `unpaid`.
    pub unpaid_entitles: bool,
    /// Whether a subscription on a connected account gives a tier on the platform.
    pub connect_entitles: bool,
    /// Whether access goes on while collection is paused.
    pub pause_entitles: bool,
    /// How long late payers keep access.
    pub grace: Grace,
    /// Whether only UUIDs name users. Without it any word does, and a public table whose column takes no such word shows
    /// nothing of the user.
    pub uuid_users: bool,
    /// Fields of metadata that name a user.
    pub user_fields: UserFields,
    /// Whether `client_reference_id` names a user.
    pub references_name_users: bool,
}

pub(super) fn read(r: &mut Reader) -> RevenueConfig {
    let tiers = [("bronze", PRICE_BRONZE), ("silver", PRICE_SILVER), ("gold", PRICE_GOLD)];
    let mut prices: Vec<(String, &'static str)> = Vec::new();
    for (tier, setting) in tiers {
        for price in r.optional(setting, price_ids).unwrap_or_default() {
            if prices.iter().any(|(known, _)| *known == price) {
                r.fault(setting.variable, format!("{price} already stands for another tier"));
            }
            prices.push((price, tier));
        }
    }
    let guardian_rules = r.optional(GUARDIAN_RULES, path);
    if let Some(path) = &guardian_rules {
        r.watch(GUARDIAN_RULES.variable, path);
    }
    RevenueConfig {
        tiers: prices,
        guardian_rules,
        uuid_users: r.or(USER_IDS, "auto", |text| match text {
            "uuid" => Ok(true),
            "any" | "auto" => Ok(false),
            _ => Err("must be auto, uuid or any".to_owned()),
        }),
        unpaid_entitles: r.or(UNPAID_ENTITLES, "false", boolean),
        user_fields: r.or(FIELDS, &USER_FIELDS.join(","), |text| {
            text.parse().map_err(|error: UserFieldsError| error.to_string())
        }),
        references_name_users: r.or(REFERENCE_IS_USER, "true", boolean),
        pause_entitles: r.or(PAUSE_ENTITLES, "true", boolean),
        grace: r.or(PAST_DUE_GRACE, "none", str::parse),
        connect_entitles: r.or(CONNECT_ENTITLES, "false", boolean),
    }
}

/// One price id, or several separated by commas.
fn price_ids(text: &str) -> Result<Vec<String>, String> {
    let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    if let Some(product) = ids.iter().find(|id| id.starts_with("prod_")) {
        return Err(format!(
            "{product} is a product: name its price (price_…), which Stripe's dashboard shows below it"
        ));
    }
    if ids.iter().all(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
        Ok(ids)
    } else {
        Err("must be Stripe price ids (price_…), several between commas".to_owned())
    }
}
