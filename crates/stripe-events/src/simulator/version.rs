//! The API versions that simulated events are rendered in, and what differs between them.
//!
//! Only differences that reach a webhook consumer are modelled; Stripe's changelog has many more.

use std::fmt;
use std::str::FromStr;

use crate::payment::ORDER_REFERENCE_CHARS;

/// A Stripe API version that changed the shape of events. Ordered by age, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiVersion {
    /// 2020-08-27: items carry a `plan` and no `price`; charges list their refunds.
    V2020,
    /// 2023-10-16: items carry both; charges no longer list their refunds.
    V2023,
    /// 2024-11-20.acacia.
    Acacia,
    /// 2025-03-31.basil: periods are on the items, an invoice names its subscription under `parent`.
    Basil,
    /// 2025-09-30.clover: the customer portal cancels through `cancel_at`.
    Clover,
    /// 2026-03-25.dahlia: decimals are strings.
    Dahlia,
    /// 2026-09-30.endive: there are thin events for every object. The objects are those of dahlia.
    Endive,
}

/// A text that names no API version known to the simulator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown API version {0:?}; known are {known}", known = ApiVersion::ALL.map(ApiVersion::as_str).join(", "))]
pub struct UnknownApiVersion(String);

impl ApiVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V2020, Self::V2023, Self::Acacia, Self::Basil, Self::Clover, Self::Dahlia, Self::Endive];

    /// The versions whose objects differ. The simulator draws one for each customer.
    pub const DRAWN: [Self; 6] = [Self::V2020, Self::V2023, Self::Acacia, Self::Basil, Self::Clover, Self::Dahlia];

    /// The newest version.
    pub const NEWEST: Self = Self::Endive;

    /// The name in an event's `api_version`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2020 => "2020-08-27",
            Self::V2023 => "2023-10-16",
            Self::Acacia => "2024-11-20.acacia",
            Self::Basil => "2025-03-31.basil",
            Self::Clover => "2025-09-30.clover",
            Self::Dahlia => "2026-03-25.dahlia",
            Self::Endive => "2026-09-30.endive",
        }
    }

    /// Subscription items and invoice lines carry a `plan` where later versions carry a `price`.
    pub(super) fn has_plans_only(self) -> bool {
        self == Self::V2020
    }

    /// A charge embeds the list of its refunds.
    pub(super) fn charges_list_refunds(self) -> bool {
        self == Self::V2020
    }

    /// `current_period_*` are on the subscription's items. An invoice names its subscription under `parent` but
    /// does not name its payment, and payments do not name their invoice.
    pub(super) fn is_basil_or_later(self) -> bool {
        self >= Self::Basil
    }

    /// What payments say about the invoice since clover: its id, of which clover kept only the first characters.
    pub(super) fn order_reference(self, invoice: &str) -> Option<&str> {
        match self {
            Self::V2020 | Self::V2023 | Self::Acacia | Self::Basil => None,
            Self::Clover => Some(invoice.get(..ORDER_REFERENCE_CHARS).unwrap_or(invoice)),
            Self::Dahlia | Self::Endive => Some(invoice),
        }
    }

    /// Cancelling at the end of a period sets `cancel_at` and leaves `cancel_at_period_end` false.
    pub(super) fn cancels_by_date(self) -> bool {
        self >= Self::Clover
    }

    /// Decimals are strings.
    pub(super) fn has_text_decimals(self) -> bool {
        self >= Self::Dahlia
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApiVersion {
    type Err = UnknownApiVersion;

    /// Takes the full name, its date or its release name (`basil`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let matches = |version: &Self| {
            let name = version.as_str();
            name == text || name.split('.').any(|part| part == text)
        };
        Self::ALL.into_iter().find(matches).ok_or_else(|| UnknownApiVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_by_name_date_or_release() {
        for version in ApiVersion::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert_eq!("basil".parse(), Ok(ApiVersion::Basil));
        assert_eq!("2026-03-25".parse(), Ok(ApiVersion::Dahlia));
    }

    #[test]
    fn an_unknown_version_is_refused_with_the_known_ones() {
        let error = "2019-01-01".parse::<ApiVersion>().expect_err("no such version").to_string();
        assert!(error.contains("2019-01-01") && error.contains("2025-03-31.basil"), "{error}");
        assert!("".parse::<ApiVersion>().is_err());
    }
}
