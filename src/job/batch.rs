//! How events travel in the one argument of a job.
//!
//! One event is the argument itself: its JSON text as a string. A string and not an object, because the server
//! re-encodes objects and turns every number into a double, while a string comes back byte for byte. Several events
//! are a JSON array of them, compressed with zstd and written in base64, which `kwargs.encoding` tells.
//!
//! Guarantees: an event comes out with the bytes that went in, from its first to its last (white space around a
//! document is not part of it); decoding allocates within fixed bounds whatever the text claims. Does not: look into
//! events. One that makes no sense is still an event, and its neighbours are not harmed.

use std::fmt;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX};

/// Most bytes of an encoded argument: the largest batch in base64, if none of it could be compressed.
pub const ENCODED_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Most bytes of a decompressed array: the events, the commas between them and the brackets.
const ARRAY_BYTES_MAX: usize = BATCH_BYTES_MAX + BATCH_ENTRIES_MAX + 1;

/// The level of compression. Higher ones cost the pump more time than they save the server.
const LEVEL: i32 = 3;

/// The decoder refuses frames that need more than 2^23 bytes of history. The encoder's level uses at most 2^22.
const WINDOW_LOG_MAX: u32 = 23;

/// The form in which the argument of a job holds its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One event, unchanged.
    Plain,
    /// An array of events, compressed.
    ZstdJson,
}

impl Encoding {
    /// The value of `kwargs.encoding`; empty for a plain argument.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::ZstdJson => "zstd+json",
        }
    }

    /// Reads the value of `kwargs.encoding`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Plain),
            "zstd+json" => Some(Self::ZstdJson),
            _ => None,
        }
    }
}

/// Events as bytes, before they are put into the argument of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// One event unchanged, or a compressed array.
    pub bytes: Vec<u8>,
    /// How to read them.
    pub encoding: Encoding,
}

impl Encoded {
    /// The argument of a job that is not sealed.
    ///
    /// # Errors
    /// None occur: an event is text, and everything else becomes text.
    pub fn into_text(self) -> Result<String, EncodeError> {
        match self.encoding {
            Encoding::Plain => String::from_utf8(self.bytes).map_err(|_| EncodeError::NotText),
            Encoding::ZstdJson => Ok(STANDARD.encode(self.bytes)),
        }
    }
}

/// Encodes events, given as JSON texts: a single one unchanged, several together.
///
/// # Errors
/// If there is none, if there are more or larger ones than a batch may hold, or if one is not JSON.
pub fn encode(events: &[&str]) -> Result<Encoded, EncodeError> {
    if events.len() > BATCH_ENTRIES_MAX {
        return Err(EncodeError::TooMany { count: events.len() });
    }
    let bytes = events.iter().map(|event| event.len()).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(EncodeError::TooLarge { bytes });
    }
    let events = events.iter().enumerate().map(|(index, event)| {
        // Proves that the text is a single document, so that it cannot smuggle a second one into the array.
        let document: &RawValue =
            serde_json::from_str(event).map_err(|source| EncodeError::NotJson { index, source })?;
        Ok(document.get())
    });
    let events = events.collect::<Result<Vec<&str>, EncodeError>>()?;
    match events.as_slice() {
        [] => Err(EncodeError::Empty),
        [event] => Ok(Encoded { bytes: event.as_bytes().to_vec(), encoding: Encoding::Plain }),
        several => {
            let array = format!("[{}]", several.join(","));
            let bytes = zstd::bulk::compress(array.as_bytes(), LEVEL).map_err(EncodeError::Compress)?;
            Ok(Encoded { bytes, encoding: Encoding::ZstdJson })
        }
    }
}

/// Why events cannot be put in one job.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// No event.
    #[error("a job needs at least one event")]
    Empty,
    /// Too many events.
    #[error("{count} events are more than the {BATCH_ENTRIES_MAX} of one job")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Too many bytes.
    #[error("{bytes} bytes of events are more than the {BATCH_BYTES_MAX} of one job")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// An event is not one JSON document.
    #[error("event {index} of the batch is not JSON")]
    NotJson {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An event is not UTF-8, which its type rules out.
    #[error("an event is not text")]
    NotText,
    /// The compressor failed, for lack of memory.
    #[error("the batch cannot be compressed")]
    Compress(#[source] std::io::Error),
}

/// Decodes the argument of an unsealed job to its events, in their order. There is at least one.
///
/// # Errors
/// If the text does not match its encoding, or exceeds a bound.
pub fn decode(text: &str, encoding: Encoding) -> Result<Vec<Box<RawValue>>, DecodeError> {
    match encoding {
        Encoding::Plain => decode_bytes(text.as_bytes(), encoding),
        Encoding::ZstdJson => {
            if text.len() > ENCODED_BYTES_MAX {
                return Err(DecodeError::TooLarge { limit: ENCODED_BYTES_MAX });
            }
            decode_bytes(&STANDARD.decode(text).map_err(DecodeError::Base64)?, encoding)
        }
    }
}

/// As [`decode`], for the bytes of a job.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(bytes: &[u8], encoding: Encoding) -> Result<Vec<Box<RawValue>>, DecodeError> {
    match encoding {
        Encoding::Plain => {
            if bytes.len() > BATCH_BYTES_MAX {
                return Err(DecodeError::TooLarge { limit: BATCH_BYTES_MAX });
            }
            let text = std::str::from_utf8(bytes).map_err(DecodeError::Utf8)?;
            serde_json::from_str(text).map(|event| vec![event]).map_err(DecodeError::Json)
        }
        Encoding::ZstdJson => {
            let array = decompress(bytes)?;
            let array = std::str::from_utf8(&array).map_err(DecodeError::Utf8)?;
            events_of(array)
        }
    }
}

/// Decompresses up to the bound of an array, and refuses a longer one.
fn decompress(compressed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(DecodeError::Zstd)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(DecodeError::Zstd)?;
    let mut array = Vec::new();
    let bound = u64::try_from(ARRAY_BYTES_MAX).unwrap_or(u64::MAX);
    decoder.take(bound + 1).read_to_end(&mut array).map_err(DecodeError::Zstd)?;
    if array.len() > ARRAY_BYTES_MAX { Err(DecodeError::TooLarge { limit: ARRAY_BYTES_MAX }) } else { Ok(array) }
}

/// Cuts an array into its documents, and leaves each unchanged.
fn events_of(array: &str) -> Result<Vec<Box<RawValue>>, DecodeError> {
    struct Events;

    impl<'de> Visitor<'de> for Events {
        /// `None` if there are too many.
        type Value = Option<Vec<Box<RawValue>>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of events")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut events = Vec::new();
            while let Some(event) = array.next_element()? {
                if events.len() == BATCH_ENTRIES_MAX {
                    while array.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                events.push(event);
            }
            Ok(Some(events))
        }
    }

    let mut json = serde_json::Deserializer::from_str(array);
    let events = json.deserialize_seq(Events).map_err(DecodeError::Json)?;
    json.end().map_err(DecodeError::Json)?;
    match events {
        None => Err(DecodeError::TooMany),
        Some(events) if events.is_empty() => Err(DecodeError::Empty),
        Some(events) => Ok(events),
    }
}

/// Why an argument does not give events.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than allowed, before or after decompression.
    #[error("the batch is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// More events than allowed.
    #[error("the batch holds more than {BATCH_ENTRIES_MAX} events")]
    TooMany,
    /// An array without events.
    #[error("the batch holds no event")]
    Empty,
    /// Not base64.
    #[error("the batch is not base64")]
    Base64(#[source] base64::DecodeError),
    /// Not zstd, or zstd that wants too much memory.
    #[error("the batch cannot be decompressed")]
    Zstd(#[source] std::io::Error),
    /// Not text.
    #[error("the batch is not UTF-8")]
    Utf8(#[source] std::str::Utf8Error),
    /// Not JSON, or not an array.
    #[error("the batch is not the expected JSON")]
    Json(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// A text that any re-encoding would change: order, white space, numbers, escapes, a repeated key.
    const ODD: &str = "{\n  \"z\": 9007199254740993, \"a\":1.0,\"é\":\"\\u00e9 <b>&\\/\",\n  \"a\" : 1E2 , \"n\":[ ]}";

    fn texts(events: &[Box<RawValue>]) -> Vec<&str> {
        events.iter().map(|event| event.get()).collect()
    }

    fn round_trip(events: &[&str]) -> Vec<String> {
        let encoded = encode(events).unwrap();
        let encoding = encoded.encoding;
        let opened = decode_bytes(&encoded.bytes, encoding).unwrap();
        assert_eq!(texts(&decode(&encoded.into_text().unwrap(), encoding).unwrap()), texts(&opened));
        texts(&opened).into_iter().map(str::to_owned).collect()
    }

    fn packed(array: &[u8]) -> String {
        STANDARD.encode(zstd::bulk::compress(array, LEVEL).unwrap())
    }

    fn decode_packed(array: &[u8]) -> Result<Vec<Box<RawValue>>, DecodeError> {
        decode(&packed(array), Encoding::ZstdJson)
    }

    #[test]
    fn one_event_is_the_argument_itself() {
        let encoded = encode(&[ODD]).unwrap();
        assert_eq!(encoded.encoding, Encoding::Plain);
        assert_eq!(encoded.into_text().unwrap(), ODD);
        assert_eq!(round_trip(&[ODD]), [ODD]);
    }

    #[test]
    fn several_events_keep_their_bytes_and_their_order() {
        assert_eq!(round_trip(&[ODD, "{}", "null", ODD]), [ODD, "{}", "null", ODD]);
        assert_eq!(round_trip(&[" {\"a\" : 1}\n", "\t[ 1 ]"]), ["{\"a\" : 1}", "[ 1 ]"]);
    }

    #[test]
    fn similar_events_shrink() {
        let events: Vec<String> =
            (0..BATCH_ENTRIES_MAX).map(|n| format!("{{\"id\":\"evt_{n}\",\"data\":{ODD}}}")).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let plain: usize = events.iter().map(|event| event.len()).sum();
        assert!(encode(&events).unwrap().into_text().unwrap().len() * 5 < plain);
    }

    #[test]
    fn a_full_batch_fits_and_one_more_does_not() {
        let full = vec!["{}"; BATCH_ENTRIES_MAX];
        assert_eq!(round_trip(&full).len(), BATCH_ENTRIES_MAX);
        let more = vec!["{}"; BATCH_ENTRIES_MAX + 1];
        assert!(matches!(encode(&more), Err(EncodeError::TooMany { count }) if count == BATCH_ENTRIES_MAX + 1));
        assert!(matches!(decode_packed(format!("[{}]", more.join(",")).as_bytes()), Err(DecodeError::TooMany)));
    }

    #[test]
    fn the_largest_batch_fits_even_if_nothing_of_it_compresses_and_one_byte_more_does_not() {
        let mut random = fastrand::Rng::with_seed(1);
        let noise = |length: usize, random: &mut fastrand::Rng| -> String {
            let text: String = (0..length - 2).map(|_| random.alphanumeric()).collect();
            format!("\"{text}\"")
        };
        let share = BATCH_BYTES_MAX / BATCH_ENTRIES_MAX;
        let mut events: Vec<String> = (0..BATCH_ENTRIES_MAX).map(|_| noise(share, &mut random)).collect();
        let borrowed: Vec<&str> = events.iter().map(String::as_str).collect();
        let encoded = encode(&borrowed).unwrap();
        let encoding = encoded.encoding;
        let text = encoded.into_text().unwrap();
        assert!(text.len() <= ENCODED_BYTES_MAX);
        assert_eq!(texts(&decode(&text, encoding).unwrap()), borrowed);
        events[0] = noise(share + 1, &mut random);
        let borrowed: Vec<&str> = events.iter().map(String::as_str).collect();
        assert!(matches!(encode(&borrowed), Err(EncodeError::TooLarge { .. })));
        let array = format!("[{}]", borrowed.join(","));
        assert!(matches!(decode_packed(array.as_bytes()), Err(DecodeError::TooLarge { limit: ARRAY_BYTES_MAX })));
    }

    #[test]
    fn nothing_at_all_is_no_batch() {
        assert!(matches!(encode(&[]), Err(EncodeError::Empty)));
        assert!(matches!(decode_packed(b"[]"), Err(DecodeError::Empty)));
    }

    #[test]
    fn an_event_cannot_smuggle_in_a_second_one() {
        for event in ["{},{}", "{}]", "", "{", "{} {}"] {
            assert!(matches!(encode(&["{}", event]), Err(EncodeError::NotJson { index: 1, .. })), "{event}");
            assert!(matches!(decode(event, Encoding::Plain), Err(DecodeError::Json(_))), "{event}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_bound() {
        let mut bomb = zstd::stream::Encoder::new(Vec::new(), LEVEL).unwrap();
        let zeros = vec![b' '; 1024 * 1024];
        for _ in 0..256 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = STANDARD.encode(bomb.finish().unwrap());
        assert!(bomb.len() < 64 * 1024, "256 MiB in {} bytes", bomb.len());
        assert!(matches!(decode(&bomb, Encoding::ZstdJson), Err(DecodeError::TooLarge { limit: ARRAY_BYTES_MAX })));
    }

    #[test]
    fn a_bomb_of_many_small_frames_is_refused_at_the_bound() {
        let frame = zstd::bulk::compress(&vec![b' '; 64 * 1024], LEVEL).unwrap();
        let bomb = STANDARD.encode(frame.repeat(1024));
        assert!(matches!(decode(&bomb, Encoding::ZstdJson), Err(DecodeError::TooLarge { limit: ARRAY_BYTES_MAX })));
    }

    #[test]
    fn a_frame_that_wants_much_memory_for_its_history_is_refused() {
        let mut frame = zstd::stream::Encoder::new(Vec::new(), LEVEL).unwrap();
        frame.window_log(27).unwrap();
        frame.write_all(b"[{}]").unwrap();
        let text = STANDARD.encode(frame.finish().unwrap());
        assert!(matches!(decode(&text, Encoding::ZstdJson), Err(DecodeError::Zstd(_))));
    }

    #[test]
    fn what_is_not_a_batch_is_refused_with_its_reason() {
        let long = "A".repeat(ENCODED_BYTES_MAX + 4);
        assert!(matches!(decode(&long, Encoding::ZstdJson), Err(DecodeError::TooLarge { limit: ENCODED_BYTES_MAX })));
        assert!(matches!(decode("{}", Encoding::ZstdJson), Err(DecodeError::Base64(_))));
        assert!(matches!(decode("AAAA", Encoding::ZstdJson), Err(DecodeError::Zstd(_))));
        assert!(matches!(decode_packed(b"\xff"), Err(DecodeError::Utf8(_))));
        for array in ["", "{}", "[{}", "[{}]]", "[{},]", "1"] {
            assert!(matches!(decode_packed(array.as_bytes()), Err(DecodeError::Json(_))), "{array}");
        }
        let long = format!("\"{}\"", "a".repeat(BATCH_BYTES_MAX));
        assert!(matches!(decode(&long, Encoding::Plain), Err(DecodeError::TooLarge { limit: BATCH_BYTES_MAX })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_events_come_back_as_they_went(texts in prop::collection::vec("\\PC{0,40}", 1..20)) {
            let events: Vec<String> = texts.iter().map(|text| serde_json::json!({ text: [text] }).to_string()).collect();
            let borrowed: Vec<&str> = events.iter().map(String::as_str).collect();
            prop_assert_eq!(round_trip(&borrowed), borrowed);
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text in "\\PC{0,80}", at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = decode(&text, Encoding::Plain);
            let _ = decode(&text, Encoding::ZstdJson);
            let mut frame = zstd::bulk::compress(br#"[{"a":1},{"b":2},{"a":1}]"#, LEVEL).unwrap();
            let index = at.index(frame.len());
            frame[index] = byte;
            let _ = decode(&STANDARD.encode(frame), Encoding::ZstdJson);
        }
    }
}
