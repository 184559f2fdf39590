//! A call of one of the gateway's functions in PostgreSQL, and how each transport says it.

use std::borrow::Cow;

use serde_json::Value;
use tokio_postgres::types::Type;

use crate::postgres::{JsonText, Parameter};

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
    Json(JsonText<'a>),
    Text(&'a str),
    Number(Option<i64>),
    Flag(bool),
}

impl<'a> Call<'a> {
    /// A call without arguments so far.
    pub(super) const fn of(function: &'static str) -> Self {
        Self { function, arguments: Vec::new() }
    }

    /// With a document, which must be JSON.
    pub(super) fn json(self, name: &'static str, document: &'a str) -> Self {
        self.with(name, Argument::Json(JsonText(document)))
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
        let one = |(name, argument): &(&str, Argument<'_>)| format!("\"{name}\":{}", argument.as_json());
        format!("{{{}}}", self.arguments.iter().map(one).collect::<Vec<_>>().join(","))
    }

    /// The call as one statement, whose parameters are [`Self::parameters`]. Arguments of a fixed form are written into it.
    /// The others are parameters, so that the server reads a batch once, and not a second time as a part of the statement.
    pub(super) fn as_statement(&self) -> String {
        let mut number = 0;
        let arguments = self.arguments.iter().map(|(name, argument)| {
            let value = match argument {
                Argument::Json(_) | Argument::Text(_) => {
                    number += 1;
                    format!("${number}")
                }
                Argument::Number(value) => value.map_or_else(|| "NULL".to_owned(), |value| value.to_string()),
                Argument::Flag(flag) => flag.to_string(),
            };
            format!("{name} => {value}")
        });
        let arguments: Vec<String> = arguments.collect();
        format!("SELECT public.{}({})", self.function, arguments.join(", "))
    }

    /// The parameters of [`Self::as_statement`], in their order.
    pub(super) fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(self.arguments.len());
        for (_, argument) in &self.arguments {
            match argument {
                Argument::Json(document) => parameters.push((document, Type::JSONB)),
                Argument::Text(text) => parameters.push((text, Type::TEXT)),
                Argument::Number(_) | Argument::Flag(_) => {}
            }
        }
        parameters
    }
}

impl Argument<'_> {
    fn as_json(&self) -> Cow<'_, str> {
        match self {
            Self::Json(document) => Cow::Borrowed(document.0),
            Self::Text(text) => Value::from(*text).to_string().into(),
            Self::Number(number) => Value::from(*number).to_string().into(),
            Self::Flag(flag) => flag.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_said_by_name_in_both_forms() {
        let call = Call::of("gateway_x").json("a", "{\"k\":[1]}").text("b", "it's \"b\"").flag("c", true);
        let call = call.number("d", 7).number("e", None);
        assert_eq!(call.as_json(), r#"{"a":{"k":[1]},"b":"it's \"b\"","c":true,"d":7,"e":null}"#);
        assert_eq!(call.as_statement(), "SELECT public.gateway_x(a => $1, b => $2, c => true, d => 7, e => NULL)");
        let kinds: Vec<Type> = call.parameters().into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, [Type::JSONB, Type::TEXT]);
        assert_eq!((Call::of("f").as_json(), Call::of("f").as_statement()), ("{}".into(), "SELECT public.f()".into()));
    }
}
