//! Tiers: which price buys which, and which of two is better.

use std::collections::BTreeMap;

/// The tiers on sale, from the least to the best, and the prices that buy them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tiers {
    order: Vec<String>,
    by_price: BTreeMap<String, usize>,
    fallback: Option<usize>,
}

/// Why a set of tiers makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TiersError {
    /// More than the ranks have room for.
    #[error("{0} tiers are configured; at most {TIERS_MAX} can be told apart")]
    TooMany(usize),
    /// A name is there twice, perhaps once as an alias (`argent` is `silver`, `or` is `gold`).
    #[error("tier `{0}` is named twice")]
    Twice(String),
    /// A price buys a tier that does not exist.
    #[error("price `{price}` buys tier `{tier}`, which is not configured; add it to the tiers or correct the name")]
    Unknown {
        price: String,
        /// The tier it names.
        tier: String,
    },
    /// A price buys two tiers.
    #[error("price `{0}` buys two different tiers")]
    Ambiguous(String),
}

/// Most tiers that ranks have room for.
pub const TIERS_MAX: usize = 99;

impl Default for Tiers {
    /// Bronze, silver and gold, without prices.
    fn default() -> Self {
        let order = ["bronze", "silver", "gold"].map(str::to_owned).to_vec();
        Self { order, by_price: BTreeMap::new(), fallback: None }
    }
}

impl Tiers {
    /// The tiers' names from the least to the best, pairs of a price (or plan) and the tier it buys, and the tier of a
    /// subscription if neither price nor metadata tells one.
    pub fn new<'a>(
        order: impl IntoIterator<Item = &'a str>,
        prices: impl IntoIterator<Item = (&'a str, &'a str)>,
        fallback: Option<&str>,
    ) -> Result<Self, TiersError> {
        let mut tiers = Self { order: Vec::new(), by_price: BTreeMap::new(), fallback: None };
        for name in order {
            let name = canonical(name);
            if tiers.order.contains(&name) {
                return Err(TiersError::Twice(name));
            }
            tiers.order.push(name);
        }
        if tiers.order.len() > TIERS_MAX {
            return Err(TiersError::TooMany(tiers.order.len()));
        }
        let unknown = |price: &str, tier: &str| TiersError::Unknown { price: price.to_owned(), tier: tier.to_owned() };
        for (price, tier) in prices {
            let index = tiers.index(tier).ok_or_else(|| unknown(price, tier))?;
            if tiers.by_price.insert(price.to_owned(), index).is_some_and(|before| before != index) {
                return Err(TiersError::Ambiguous(price.to_owned()));
            }
        }
        if let Some(tier) = fallback {
            tiers.fallback = Some(tiers.index(tier).ok_or_else(|| unknown("(any other)", tier))?);
        }
        Ok(tiers)
    }

    /// The tier that a price buys.
    pub fn of_price(&self, price: &str) -> Option<&str> {
        self.by_price.get(price).map(|&index| self.order[index].as_str())
    }

    /// The tier meant by a name: in any case, with space around, or in French.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.index(name).map(|index| self.order[index].as_str())
    }

    /// The tier of a subscription if nothing else tells one.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.map(|index| self.order[index].as_str())
    }

    /// Whether any price is known.
    pub fn knows_prices(&self) -> bool {
        !self.by_price.is_empty()
    }

    /// Rank of a tier, from 1; 0 for none.
    pub fn rank(&self, tier: Option<&str>) -> usize {
        tier.and_then(|name| self.index(name)).map_or(0, |index| index + 1)
    }

    fn index(&self, name: &str) -> Option<usize> {
        let name = canonical(name);
        self.order.iter().position(|tier| *tier == name)
    }
}

/// The name in lower case, with the predecessor's French names in English.
fn canonical(name: &str) -> String {
    match name.trim().to_lowercase().as_str() {
        "argent" => "silver".to_owned(),
        "or" => "gold".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn french_names_mean_the_same_tiers() {
        let tiers = Tiers::default();
        assert_eq!(
            (tiers.named("Argent"), tiers.named(" OR "), tiers.named("platine")),
            (Some("silver"), Some("gold"), None)
        );
        assert!(tiers.rank(Some("or")) > tiers.rank(Some("bronze")) && tiers.rank(None) == 0);
    }

    #[test]
    fn contradictions_are_refused_and_named() {
        let new = |order: &[&'static str], prices: &[(&'static str, &'static str)]| {
            Tiers::new(order.iter().copied(), prices.iter().copied(), None)
        };
        assert_eq!(new(&["gold", "or"], &[]), Err(TiersError::Twice("gold".into())));
        assert_eq!(new(&["gold"], &[("p", "gold"), ("p", "gold")]).map(|_| ()), Ok(()));
        assert_eq!(new(&["a", "b"], &[("p", "a"), ("p", "b")]), Err(TiersError::Ambiguous("p".into())));
        let unknown = TiersError::Unknown { price: "p".into(), tier: "x".into() };
        assert_eq!(new(&["a"], &[("p", "x")]), Err(unknown));
        let names: Vec<String> = (0..=TIERS_MAX).map(|n| format!("t{n}")).collect();
        assert_eq!(Tiers::new(names.iter().map(String::as_str), [], None), Err(TiersError::TooMany(TIERS_MAX + 1)));
        assert!(Tiers::new(names[1..].iter().map(String::as_str), [], None).is_ok());
    }
}
