//! What the simulated shop sells: three monthly tiers in four currencies, of two, none and three decimals.

/// A tier of the simulated shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The cheapest.
    Bronze,
    /// The middle one.
    Silver,
    /// The most expensive.
    Gold,
}

impl Tier {
    /// Every tier, cheapest first.
    pub const ALL: [Self; 3] = [Self::Bronze, Self::Silver, Self::Gold];

    /// The name in metadata and in the state of record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }

    /// Identifier of the tier's price. A gateway fed by the simulator maps these to tiers.
    pub const fn price_id(self) -> &'static str {
        match self {
            Self::Bronze => "price_1SimBronzeMonthly000000",
            Self::Silver => "price_1SimSilverMonthly000000",
            Self::Gold => "price_1SimGoldMonthly00000000",
        }
    }

    pub(super) const fn product_id(self) -> &'static str {
        match self {
            Self::Bronze => "prod_SimBronze0000",
            Self::Silver => "prod_SimSilver0000",
            Self::Gold => "prod_SimGold000000",
        }
    }

    pub(super) const fn product_name(self) -> &'static str {
        match self {
            Self::Bronze => "Bronze membership",
            Self::Silver => "Silver membership",
            Self::Gold => "Gold membership",
        }
    }

    /// Price per month, in minor units of the currency.
    pub fn monthly(self, currency: Currency) -> i64 {
        let major = match self {
            Self::Bronze => 9,
            Self::Silver => 19,
            Self::Gold => 49,
        };
        match currency {
            Currency::Usd | Currency::Eur => major * 100 - 1,
            Currency::Jpy => major * 150,
            Currency::Kwd => major * 310,
        }
    }
}

/// A currency of the simulated shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Two decimals.
    Usd,
    /// Two decimals.
    Eur,
    /// No decimals.
    Jpy,
    /// Three decimals.
    Kwd,
}

impl Currency {
    /// The lower-case ISO 4217 code, as Stripe writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Eur => "eur",
            Self::Jpy => "jpy",
            Self::Kwd => "kwd",
        }
    }

    pub(super) const fn country(self) -> &'static str {
        match self {
            Self::Usd => "US",
            Self::Eur => "DE",
            Self::Jpy => "JP",
            Self::Kwd => "KW",
        }
    }

    /// Mostly dollars.
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        match random.u32(..100) {
            0..75 => Self::Usd,
            75..90 => Self::Eur,
            90..96 => Self::Jpy,
            _ => Self::Kwd,
        }
    }
}
