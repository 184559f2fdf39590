//! A call of one of the gateway's functions in PostgreSQL, and how each transport says it.

use std::borrow::Cow;

use serde_json::Value;

/// A function in `public` with its arguments by name.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Name without the schema.
    pub(super) function: &'static str,
    arguments: Vec<(&'static str, Argument<'a>)>,
}

/// The value of an argument.
#[derive(Debug)]
enum Argument<'a> {
    /// A JSON document, as text.
    Json(&'a str),
    Text(&'a str),
    Number(Option<i64>),
    Flag(bool),
}

impl<'a> Call<'a> {
    /// A call without arguments so far.
    pub(super) const fn of(function: &'static str) -> Self {
        Self { function, arguments: Vec::new() }
    }

    /// With a document, which has to be JSON.
    pub(super) fn json(self, name: &'static str, document: &'a str) -> Self {
        self.with(name, Argument::Json(document))
    }

    /// With a text.
    pub(super) fn text(self, name: &'static str, text: &'a str) -> Self {
        self.with(name, Argument::Text(text))
    }

    /// With a whole number, or without one.
    pub(super) fn number(self, name: &'static str, number: impl Into<Option<i64>>) -> Self {
        self.with(name, Argument::Number(number.into()))
    }

    /// With a truth value.
    pub(super) fn flag(self, name: &'static str, flag: bool) -> Self {
        self.with(name, Argument::Flag(flag))
    }

    fn with(mut self, name: &'static str, argument: Argument<'a>) -> Self {
        self.arguments.push((name, argument));
        self
    }

    /// The arguments as the JSON object that the REST layer takes.
    pub(super) fn as_json(&self) -> String {
        format!("{{{}}}", self.listed(",", |name, argument| format!("\"{name}\":{}", argument.as_json())))
    }

    /// The call as one statement that needs no parameters.
    pub(super) fn as_statement(&self) -> String {
        let arguments = self.listed(", ", |name, argument| format!("{name} => {}", argument.as_sql()));
        format!("SELECT public.{}({arguments})", self.function)
    }

    fn listed(&self, between: &str, one: impl Fn(&str, &Argument<'_>) -> String) -> String {
        let all: Vec<String> = self.arguments.iter().map(|(name, argument)| one(name, argument)).collect();
        all.join(between)
    }
}

impl Argument<'_> {
    fn as_json(&self) -> Cow<'_, str> {
        match self {
            Self::Json(document) => Cow::Borrowed(document),
            Self::Text(text) => Value::from(*text).to_string().into(),
            Self::Number(number) => Value::from(*number).to_string().into(),
            Self::Flag(flag) => flag.to_string().into(),
        }
    }

    fn as_sql(&self) -> String {
        match self {
            Self::Json(document) => literal(document) + "::jsonb",
            Self::Text(text) => literal(text),
            Self::Number(number) => number.map_or_else(|| "NULL".to_owned(), |number| number.to_string()),
            Self::Flag(flag) => flag.to_string(),
        }
    }
}

/// `text` as a literal in which no character has a meaning, whatever the server's settings.
///
/// A literal and no parameter: parameters need a statement that is prepared in one step and run in the next, and a pooler
/// may give each step to another server process.
pub(super) fn literal(text: &str) -> String {
    let mut name = "$gateway".to_owned();
    let mut number = 0_u64;
    // The tag is the name and a dollar sign. It must neither occur in the text nor begin with the text's end, whose name the
    // dollar sign of the closing tag would complete. The loop ends because the text is finite.
    while text.ends_with(&name) || text.contains(&format!("{name}$")) {
        number += 1;
        name = format!("$gateway{number}");
    }
    format!("{name}${text}{name}$")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a literal as PostgreSQL reads it: up to the first place where the opening tag stands again.
    fn read(literal: &str) -> (&str, &str) {
        let tag = &literal[..=literal[1..].find('$').unwrap() + 1];
        let rest = &literal[tag.len()..];
        let end = rest.find(tag).unwrap();
        (&rest[..end], &rest[end + tag.len()..])
    }

    #[test]
    fn no_text_ends_its_own_literal() {
        for text in [
            "",
            "it's",
            "\\",
            "$",
            "$$",
            "$gateway",
            "$gateway$",
            "$gateway$ $gateway1",
            "$gateway1 $gateway",
            "$gateway$ $gateway1$ $gateway2$; DROP TABLE x",
        ] {
            assert_eq!(read(&literal(text)), (text, ""), "{text}");
        }
    }

    #[test]
    fn arguments_are_said_by_name_in_both_forms() {
        let call = Call::of("gateway_x").json("a", "{\"k\":[1]}").text("b", "it's \"b\"").flag("c", true);
        let call = call.number("d", 7).number("e", None);
        assert_eq!(call.as_json(), r#"{"a":{"k":[1]},"b":"it's \"b\"","c":true,"d":7,"e":null}"#);
        assert_eq!(
            call.as_statement(),
            "SELECT public.gateway_x(a => $gateway${\"k\":[1]}$gateway$::jsonb, b => $gateway$it's \"b\"$gateway$, \
             c => true, d => 7, e => NULL)"
        );
        assert_eq!((Call::of("f").as_json(), Call::of("f").as_statement()), ("{}".into(), "SELECT public.f()".into()));
    }
}
