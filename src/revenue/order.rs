//! The order of contents that Stripe made within one second, by what each says was there before it.
//!
//! `created` has one-second resolution and deliveries come in any order, but an update carries `previous_attributes`:
//! the values that it replaced. If the values that B replaced are A's, B is later than A, whatever the ids or periods
//! say. [`last`] reads that off a whole set, so it depends on no order of arrival:
//!
//! - Between two contents lies the number of fields in which what the later one replaced differs from what the earlier
//!   one was: none where nothing happened in between.
//! - Of all orders of the set, those count in which these numbers add up to the least. The newest content before the
//!   second, where one is known, is where the order starts: only that tells a cancellation that was undone from one that
//!   was made again. An announcement of the same second shows some content of it, between any two changes: the order may
//!   start there too, but need not.
//! - Do those orders end in one content, that is the last. Do they end in several, it is undecided, and the greatest
//!   version is taken so that all stores agree.
//!
//! PostgreSQL has the same rule as `gateway.last_of`; the tests hold the two equal.

use serde_json::{Map, Value};

/// Most contents of one second for which every order is tried. For larger sets, `by_count` counts how often each content
/// was reached and left.
pub const EXACT_MAX: usize = 8;

/// Lists that old API versions embed in a customer: they change without an event that says so.
const EMBEDDED: [&str; 4] = ["subscriptions", "sources", "cards", "tax_ids"];

/// What one event tells of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Sort key of the content's version.
    pub version: String,
    /// The object after the change.
    pub after: Value,
    /// The object before it: the same, except for what the event says was different.
    pub before: Value,
}

/// The contents of a moment before the set's.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What its events tell.
    pub contents: Vec<Told>,
    /// Whether they only announce a change in the second of the next moment. Such a content is from before that change, but
    /// other contents of the second may have come earlier still.
    pub is_aside: bool,
}

/// Which content of a set is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its version.
    pub version: String,
    pub proof: Proof,
}

/// How sure an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every content follows from the one before it.
    Whole,
    /// The likeliest order: between its contents something changed that no event of the set tells.
    Likely,
    /// Several contents may be the last: the greatest version was taken.
    Open,
}

impl Told {
    /// From an event's object and its `previous_attributes`, if it has any.
    pub fn new(version: String, object: &Value, previous: Option<&Value>) -> Self {
        let plain = |value: &Value| match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(key, _)| !EMBEDDED.contains(&key.as_str()));
                Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            other => other.clone(),
        };
        let after = plain(object);
        let before = previous.map_or_else(|| after.clone(), |previous| overlaid(&after, &plain(previous)));
        Self { version, after, before }
    }
}

/// `base` with the fields of `patch` in place of its own: objects are merged field by field, everything else is replaced as
/// a whole.
fn overlaid(base: &Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            let mut fields: Map<String, Value> = base.clone();
            for (key, value) in patch {
                let below = fields.get(key).unwrap_or(&Value::Null);
                let above = overlaid(below, value);
                fields.insert(key.clone(), above);
            }
            Value::Object(fields)
        }
        (_, patch) => patch.clone(),
    }
}

/// In how many fields two objects differ. An absent field counts as `null`. A list is one field and only the entries in it
/// are compared: how many entries there are in all is not among the previous values.
fn distance(a: &Value, b: &Value) -> u64 {
    let shown = |value: &'_ Value| value.get("data").is_some_and(Value::is_array);
    match (a, b) {
        _ if a == b => 0,
        _ if shown(a) && shown(b) => u64::from(!alike(&a["data"], &b["data"])),
        (Value::Object(a), Value::Object(b)) => {
            let of = |fields: &Map<String, Value>, key: &str| fields.get(key).cloned().unwrap_or(Value::Null);
            let own = a.iter().map(|(key, value)| distance(value, &of(b, key)));
            let others = b.iter().filter(|(key, _)| !a.contains_key(*key));
            own.sum::<u64>() + others.map(|(_, value)| distance(&Value::Null, value)).sum::<u64>()
        }
        _ => u64::from(!alike(a, b)),
    }
}

/// Whether two values within a list are the same. A field that only one of them has does not count, because previous values
/// are sometimes rendered with fewer fields.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| b.get(key).is_none_or(|other| alike(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Number(_), Value::Number(_)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// A step of an order: the sum over the whole order, and the part of it within the set.
type Steps = (u64, u64);

/// The last of `tied`, contents of one second. `earlier` are the contents of the moments before it, the oldest moment
/// first. They go back as far as needed: to a moment with a single content that is not aside.
pub fn last(earlier: &[Moment], tied: &[Told]) -> Option<Last> {
    let starts = earlier.iter().fold(Vec::new(), |starts, moment| {
        match (moment.is_aside, starts.is_empty()) {
            (false, _) => endings(&starts, &moment.contents).0,
            // With no other start, the order may start anywhere.
            (true, true) => starts,
            (true, false) => starts.into_iter().chain(&moment.contents).collect(),
        }
    });
    let (ends, least) = endings(&starts, tied);
    let taken = ends.iter().max_by(|a, b| a.version.cmp(&b.version))?;
    let same = ends.iter().all(|end| distance(&end.after, &taken.after) == 0);
    let proof = match (same, least) {
        (false, _) => Proof::Open,
        (true, 0) => Proof::Whole,
        (true, _) => Proof::Likely,
    };
    Some(Last { version: taken.version.clone(), proof })
}

/// The contents with which the best orders of a set end, and how much does not fit within the best of these orders.
fn endings<'a>(starts: &[&Told], tied: &'a [Told]) -> (Vec<&'a Told>, u64) {
    let step = |from: &Told, to: &Told| distance(&from.after, &to.before);
    if tied.len() > EXACT_MAX {
        return by_count(starts, tied);
    }
    let begin: Vec<Steps> =
        tied.iter().map(|one| (starts.iter().map(|start| step(start, one)).min().unwrap_or(0), 0)).collect();
    let between: Vec<Vec<u64>> = tied.iter().map(|from| tied.iter().map(|to| step(from, to)).collect()).collect();
    // For each set of contents (as bits) and each of them, the best order of the set that ends with it.
    let sets = 1_usize << tied.len();
    let mut best: Vec<Vec<Option<Steps>>> = vec![vec![None; tied.len()]; sets];
    for (one, steps) in begin.into_iter().enumerate() {
        best[1 << one][one] = Some(steps);
    }
    for set in 1..sets {
        for end in 0..tied.len() {
            let Some((all, within)) = best[set][end] else { continue };
            for next in (0..tied.len()).filter(|next| set & (1 << next) == 0) {
                let steps = (all + between[end][next], within + between[end][next]);
                let known = &mut best[set | (1 << next)][next];
                *known = Some(known.map_or(steps, |known| known.min(steps)));
            }
        }
    }
    let Some(whole) = best.last().filter(|_| !tied.is_empty()) else { return (Vec::new(), 0) };
    let least = whole.iter().flatten().min().copied().unwrap_or_default();
    let ends = tied.iter().zip(whole).filter(|(_, steps)| steps.is_some_and(|(all, _)| all == least.0));
    (ends.map(|(one, _)| one).collect(), least.1)
}

/// As [`endings`], for sets too large to try every order. Every content that was reached was left again, except the last.
/// So the set ends in a content that was reached more often than it was left; contents that are alike count as one.
fn by_count<'a>(starts: &[&Told], tied: &'a [Told]) -> (Vec<&'a Told>, u64) {
    let mut states: Vec<(&Value, i64)> = Vec::new();
    if let Some((first, rest)) = starts.split_first()
        && rest.iter().all(|start| distance(&start.after, &first.after) == 0)
    {
        states.push((&first.after, 1));
    }
    let find =
        |states: &[(&Value, i64)], value: &Value| states.iter().position(|(state, _)| distance(state, value) == 0);
    let mut places = Vec::with_capacity(tied.len());
    for one in tied {
        let place = find(&states, &one.after).unwrap_or_else(|| {
            states.push((&one.after, 0));
            states.len() - 1
        });
        states[place].1 += 1;
        places.push(place);
    }
    for one in tied {
        if let Some(place) = find(&states, &one.before) {
            states[place].1 -= 1;
        }
    }
    let ends: Vec<&Told> =
        tied.iter().zip(&places).filter(|(_, place)| states[**place].1 > 0).map(|(one, _)| one).collect();
    let surplus: i64 = states.iter().map(|(_, surplus)| surplus.max(&0)).sum();
    let gaps = u64::try_from(surplus - 1).unwrap_or(0);
    (if ends.is_empty() { tied.iter().collect() } else { ends }, gaps)
}

#[cfg(test)]
mod tests;
