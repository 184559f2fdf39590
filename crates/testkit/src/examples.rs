//! Examples of JSON in `docs/json.md`, held to what programs say: the same fields with the same kinds of values, whatever the values.
//!
//! Guarantees: a field that one has and the other lacks is a difference, unless nothing is known of the object that it belongs to (it is
//! `null`, or in a list that is empty). Of a list, all elements together count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

/// Objects whose field names are data, such as reasons. All their fields count as one.
const MAPS: [&str; 8] = [
    ".refused",
    ".reasons",
    ".access.reasons",
    ".access.findings",
    ".subscriptions.fields",
    ".counts.mended",
    ".unowned",
    ".answer",
];

/// The text of `docs/json.md`.
pub fn page() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    std::fs::read_to_string(path).expect("docs/json.md is there")
}

/// The example under a heading of `docs/json.md`.
pub fn example(heading: &str) -> Value {
    let page = page();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, block) = section.split_once("```json\n").unwrap_or_else(|| panic!("no example of {heading}"));
    serde_json::from_str(block.split("```").next().unwrap_or_default())
        .unwrap_or_else(|fault| panic!("{heading}: {fault}"))
}

/// Fails if the example under a heading and a program's output have different fields.
pub fn assert_as_documented(heading: &str, said: &Value) {
    let found = differences(&example(heading), said);
    assert!(found.is_empty(), "docs/json.md, {heading}:\n  {}\nit is:\n{said:#}", found.join("\n  "));
}

/// The kinds of values at each place.
type Shape = BTreeMap<String, BTreeSet<&'static str>>;

fn differences(example: &Value, said: &Value) -> Vec<String> {
    let (mut shown, mut real) = (Shape::new(), Shape::new());
    gather(example, "", &mut shown);
    gather(said, "", &mut real);
    let mut found = missing(&real, &shown, "the example has no");
    found.extend(missing(&shown, &real, "the program does not say"));
    for (place, kinds) in &shown {
        let (ours, theirs) = (known(kinds), real.get(place).map(known).unwrap_or_default());
        if !ours.is_empty() && !theirs.is_empty() && ours.is_disjoint(&theirs) {
            found.push(format!("{place} is {theirs:?} and not {ours:?}"));
        }
    }
    found
}

/// The kinds that say what a value is.
fn known(kinds: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    kinds.iter().copied().filter(|kind| !matches!(*kind, "null" | "empty")).collect()
}

/// Places in one shape that the other lacks, although it has the object around them.
fn missing(one: &Shape, other: &Shape, what: &str) -> Vec<String> {
    let lacks = |place: &&String| {
        let (parent, _) = place.rsplit_once(['.', '[']).unwrap_or_default();
        let is_element = place.ends_with("[]");
        let parent_kinds = other.get(parent);
        !is_element
            && !other.contains_key(*place)
            && !place.is_empty()
            && parent_kinds.is_some_and(|kinds| kinds.contains("object"))
    };
    one.keys().filter(lacks).map(|place| format!("{what} {place}")).collect()
}

fn gather(value: &Value, place: &str, shape: &mut Shape) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(fields) if fields.is_empty() => "empty",
        Value::Object(_) => "object",
    };
    shape.entry(place.to_owned()).or_default().insert(kind);
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, &format!("{place}[]"), shape)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if MAPS.contains(&place) { "*" } else { name };
                gather(value, &format!("{place}.{name}"), shape);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_one_of_both_lacks_is_told_and_what_is_not_known_is_not() {
        let example = json!({"a": 1, "list": [{"b": "x", "c": null}], "none": null, "refused": {"gone": 1}});
        let same = json!({"a": 2, "list": [{"b": "y"}, {"c": 5}], "none": {"d": 1}, "refused": {"settled": 3}});
        assert_eq!(differences(&example, &same), Vec::<String>::new());
        let empty = json!({"a": null, "list": [], "none": null, "refused": {}});
        assert_eq!(differences(&example, &empty), Vec::<String>::new());
        let other = json!({"a": "1", "list": [{"b": "y", "e": 1}], "none": null, "refused": {}});
        assert_eq!(
            differences(&example, &other),
            [
                "the example has no .list[].e",
                "the program does not say .list[].c",
                r#".a is {"text"} and not {"number"}"#
            ]
        );
    }
}
