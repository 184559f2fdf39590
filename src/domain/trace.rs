//! A position in a trace, as W3C Trace Context writes it, so that it can be stored and sent along.
//!
//! Guarantee: what is parsed is a well-formed position or nothing. Does not: follow versions other than `00`, or carry
//! vendors' `tracestate`; both are optional for whoever only passes positions on.

use std::fmt;

/// Length of the text: version, trace, span and flags with dashes between them.
const TEXT_BYTES: usize = 55;

/// The one flag with a meaning: the spans of this trace are recorded.
const SAMPLED: u8 = 1;

/// The span and trace that caused the work that follows (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// A position; `None` if one of its ids is zero, which means no id.
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled })
    }

    /// Reads exactly `00-<32 hex digits>-<16 hex digits>-<2 hex digits>` with lower-case digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_BYTES || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || parts.next().is_some() {
            return None;
        }
        let mut context = ([0; 16], [0; 8], [0; 1]);
        hex::decode_to_slice(trace, &mut context.0).ok()?;
        hex::decode_to_slice(span, &mut context.1).ok()?;
        hex::decode_to_slice(flags, &mut context.2).ok()?;
        Self::new(context.0, context.1, context.2[0] & SAMPLED == SAMPLED)
    }

    pub const fn trace(&self) -> [u8; 16] {
        self.trace
    }

    pub const fn span(&self) -> [u8; 8] {
        self.span
    }

    /// Whether the spans of this trace are recorded.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Id of the trace in hexadecimal digits, for people to search by.
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }
}

impl fmt::Display for TraceContext {
    /// In the form that [`TraceContext::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace), hex::encode(self.span), u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the recommendation.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_position_is_written_as_it_was_read() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = TraceContext::parse(&EXAMPLE.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        let zero = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace("00-4", "01-4"),
            EXAMPLE.replace("00-4", "ff-4"),
            EXAMPLE.replace("-01", "-1"),
            EXAMPLE.replace("-01", "-0g"),
            EXAMPLE.replace("4bf9", "4bg9"),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zero),
            EXAMPLE.replace("00f067aa0ba902b7", &zero[..16]),
            format!("{EXAMPLE}-00"),
            format!(" {EXAMPLE}"),
            EXAMPLE.replace("4b", "é"),
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01".to_owned(),
        ] {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = TraceContext::parse(&text);
        }

        #[test]
        fn any_position_comes_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
            if let Some(context) = TraceContext::new(trace, span, sampled) {
                prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
            }
        }
    }
}
