//! One condition of a rule from the file: a place in the event and what must hold there.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::error::RulesError;

/// Most values that one path may reach in an event; a wildcard stops at this number.
const PLACES_MAX: usize = 1000;

/// Most values of one `one_of` or `none_of`.
pub(super) const VALUES_MAX: usize = 10_000;

/// The sizes, in bytes, as which compiled patterns count: the smallest that fits the pattern. A pattern beyond the last is
/// refused.
const PATTERN_BYTES: [usize; 3] = [16 * 1024, 64 * 1024, 256 * 1024];

/// Largest of all compiled patterns together, in bytes.
const PATTERNS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The room left for the patterns of one set of rules, in bytes.
#[derive(Debug)]
pub(super) struct PatternRoom(usize);

impl Default for PatternRoom {
    fn default() -> Self {
        Self(PATTERNS_BYTES_MAX)
    }
}

/// A condition as the file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionText {
    /// Keys from the event down, separated by dots; `*` is every item of a list or every field of an object.
    path: String,
    /// Whether the place must have a value.
    present: Option<bool>,
    equals: Option<Scalar>,
    one_of: Option<Vec<Scalar>>,
    none_of: Option<Vec<Scalar>>,
    above: Option<i64>,
    below: Option<i64>,
    matches: Option<String>,
}

/// A plain value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Scalar {
    Flag(bool),
    Number(i64),
    Text(String),
}

/// A condition that can be checked.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    path: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present(bool),
    OneOf(Vec<Scalar>),
    NoneOf(Vec<Scalar>),
    Above(i64),
    Below(i64),
    Matches(Box<Regex>),
}

impl PatternRoom {
    /// The compiled pattern; `None` if there is no room left for it.
    fn compile(&mut self, pattern: &str) -> Result<Option<Regex>, regex::Error> {
        let mut built = Ok(None);
        for bytes in PATTERN_BYTES {
            match RegexBuilder::new(pattern).size_limit(bytes).build() {
                Ok(regex) => {
                    let left = self.0.checked_sub(bytes);
                    self.0 = left.unwrap_or(0);
                    return Ok(left.map(|_| regex));
                }
                Err(error @ regex::Error::CompiledTooBig(_)) => built = Err(error),
                Err(error) => return Err(error),
            }
        }
        built
    }
}

impl Condition {
    /// Reads a condition of the rule `rule`, and takes the room for its pattern from `room`.
    pub(super) fn compile(written: ConditionText, rule: &str, room: &mut PatternRoom) -> Result<Self, RulesError> {
        let bad = |problem: String| RulesError::Condition { rule: rule.to_owned(), problem };
        if written.path.split('.').any(str::is_empty) {
            return Err(bad(format!("path `{}` has an empty key", written.path)));
        }
        let values = [&written.one_of, &written.none_of].into_iter().flatten().map(Vec::len).max();
        if let Some(values) = values.filter(|values| *values > VALUES_MAX) {
            return Err(bad(format!("path `{}` has {values} values; at most {VALUES_MAX} are allowed", written.path)));
        }
        let matches = match &written.matches {
            None => None,
            Some(pattern) => {
                let source = |source| RulesError::Pattern { rule: rule.to_owned(), source: Box::new(source) };
                let regex = room.compile(pattern).map_err(source)?;
                let full = || bad(format!("all patterns together need more than {PATTERNS_BYTES_MAX} bytes"));
                Some(Test::Matches(Box::new(regex.ok_or_else(full)?)))
            }
        };
        let tests: Vec<Test> = [
            written.present.map(Test::Present),
            written.equals.map(|value| Test::OneOf(vec![value])),
            written.one_of.map(Test::OneOf),
            written.none_of.map(Test::NoneOf),
            written.above.map(Test::Above),
            written.below.map(Test::Below),
            matches,
        ]
        .into_iter()
        .flatten()
        .collect();
        let path = written.path.split('.').map(str::to_owned).collect();
        match <[Test; 1]>::try_from(tests) {
            Ok([test]) => Ok(Self { path, test }),
            Err(tests) => Err(bad(format!(
                "path `{}` has {} tests; write exactly one of present, equals, one_of, none_of, above, below, matches",
                written.path,
                tests.len()
            ))),
        }
    }

    /// Whether the condition holds for any of the places that the path reaches in an event.
    pub(super) fn holds(&self, event: &Value) -> bool {
        let mut places = Vec::new();
        reach(event, &self.path, &mut places);
        match &self.test {
            Test::Present(wanted) => places.is_empty() != *wanted,
            Test::OneOf(values) => places.iter().any(|place| values.iter().any(|value| value.is(place))),
            Test::NoneOf(values) => places.iter().any(|place| !values.iter().any(|value| value.is(place))),
            Test::Above(bound) => places.iter().any(|place| number(place).is_some_and(|number| number > *bound)),
            Test::Below(bound) => places.iter().any(|place| number(place).is_some_and(|number| number < *bound)),
            Test::Matches(regex) => places.iter().any(|place| place.as_str().is_some_and(|text| regex.is_match(text))),
        }
    }
}

impl Scalar {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Flag(flag) => value.as_bool() == Some(*flag),
            Self::Number(wanted) => number(value) == Some(*wanted),
            Self::Text(text) => value.as_str() == Some(text),
        }
    }
}

fn number(value: &Value) -> Option<i64> {
    crate::stripe::object::Object::new(value).integer()
}

/// Collects the values that a path reaches, without `null`.
fn reach<'a>(value: &'a Value, path: &[String], places: &mut Vec<&'a Value>) {
    if places.len() >= PLACES_MAX {
        return;
    }
    let Some((key, rest)) = path.split_first() else {
        if !value.is_null() {
            places.push(value);
        }
        return;
    };
    match value {
        Value::Array(items) if key == "*" => items.iter().for_each(|item| reach(item, rest, places)),
        Value::Object(fields) if key == "*" => fields.values().for_each(|field| reach(field, rest, places)),
        Value::Object(fields) => {
            if let Some(field) = fields.get(key) {
                reach(field, rest, places);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(toml: &str) -> Result<Condition, RulesError> {
        Condition::compile(toml::from_str(toml).unwrap(), "r", &mut PatternRoom::default())
    }

    #[test]
    fn each_test_asks_what_it_says() {
        let event = json!({"a": {"n": "120", "t": "rue", "b": false}, "l": [{"k": 1}, {"k": 5}], "z": null});
        for (text, expected) in [
            ("path = 'a.n'\nabove = 119", true),
            ("path = 'a.n'\nabove = 120", false),
            ("path = 'a.n'\nbelow = 121", true),
            ("path = 'a.n'\nequals = 120", true),
            ("path = 'a.t'\nequals = 'rue'", true),
            ("path = 'a.b'\nequals = false", true),
            ("path = 'a.t'\none_of = ['x', 'rue']", true),
            ("path = 'a.t'\nnone_of = ['x']", true),
            ("path = 'a.t'\nnone_of = ['rue']", false),
            ("path = 'a.t'\nmatches = '^r.e$'", true),
            ("path = 'l.*.k'\nabove = 4", true),
            ("path = 'l.*.k'\nabove = 5", false),
            ("path = 'z'\npresent = false", true),
            ("path = 'a.*'\npresent = true", true),
        ] {
            assert_eq!(condition(text).unwrap().holds(&event), expected, "{text}");
        }
    }

    #[test]
    fn a_condition_without_exactly_one_test_is_refused() {
        for text in ["path = 'a'", "path = 'a'\nabove = 1\nbelow = 2", "path = 'a..b'\nabove = 1"] {
            assert!(matches!(condition(text), Err(RulesError::Condition { .. })), "{text}");
        }
        assert!(matches!(condition("path = 'a'\nmatches = '('"), Err(RulesError::Pattern { .. })));
        assert!(matches!(condition("path = 'a'\nmatches = '\\w{1000}{1000}'"), Err(RulesError::Pattern { .. })));
    }

    #[test]
    fn all_patterns_together_have_a_bound() {
        let mut room = PatternRoom(PATTERN_BYTES[2] + PATTERN_BYTES[0]);
        let mut fits = |pattern: &str| room.compile(pattern).unwrap().is_some();
        assert!(fits("^a$"), "a small one is counted as one");
        assert!(fits("[a-z]{2000}"), "a large one, too");
        assert!(!fits("^b$"));
    }

    #[test]
    fn a_wildcard_stops_at_its_bound() {
        let mut items = vec![json!(0); PLACES_MAX];
        items.push(json!(1));
        let beyond = condition("path = '*'\nequals = 1").unwrap();
        assert!(!beyond.holds(&Value::Array(items.clone())));
        items.swap(0, PLACES_MAX);
        assert!(beyond.holds(&Value::Array(items)));
    }
}
