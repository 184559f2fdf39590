//! Bodies in the file: compressed, each on its own, with a dictionary of what Stripe's events have in common.
//!
//! A commit writes what it changed to the log and a checkpoint writes it once more into the file, with an fsync each, so
//! that bytes in the file are what commits wait for. A body of 2.4 KB takes about 400 bytes.
//!
//! What is stored is a frame of RFC 8878 with the number of the dictionary and a checksum; `zstd -d -D stripe_events.zdict`
//! unpacks it. A body that would not get smaller is stored as it is.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

/// Made by `zstd --train-cover --maxdict=16384 --dictID=32769` from simulated events, up to 60 of each type. It is part of
/// the format and never changes: a better one would get its own number beside it.
const DICTIONARY: &[u8] = include_bytes!("stripe_events.zdict");

/// With this dictionary, higher levels gain less than a tenth.
const LEVEL: i32 = 1;

/// Longer bodies are not compressed. A stored length beyond this means damage.
const BYTES_MAX: usize = 64 * 1024 * 1024;

static ENCODER: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    /// Setting up a compressor takes longer than compressing a body.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// A body in the form in which it is stored; `None` if that is the body itself.
#[derive(Debug)]
pub(super) struct Packed(Option<Vec<u8>>);

impl Packed {
    pub(super) fn new(body: &[u8]) -> Self {
        let packed = COMPRESSOR.with_borrow_mut(|slot| {
            let compressor = match slot {
                Some(compressor) => compressor,
                None => slot.insert(compressor()?),
            };
            compressor.compress(body)
        });
        Self(packed.ok().filter(|packed| packed.len() < body.len() && body.len() <= BYTES_MAX))
    }

    /// The columns `body` and `bytes` of `bodies`.
    pub(super) fn columns<'a>(&'a self, body: &'a [u8]) -> (&'a [u8], Option<usize>) {
        match &self.0 {
            Some(packed) => (packed, Some(body.len())),
            None => (body, None),
        }
    }
}

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_prepared_dictionary(&ENCODER)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

/// Unpacks bodies; one serves many.
#[derive(Default)]
pub(super) struct Unpacker(Option<Decompressor<'static>>);

impl Unpacker {
    /// The body of an entry from its columns. A damaged frame is returned as it is stored. As it is not text, its entry is
    /// given up for a person to look at, and does not hold up its neighbours.
    pub(super) fn unpack(&mut self, entry: i64, stored: &[u8], bytes: Option<i64>) -> Vec<u8> {
        let Some(bytes) = bytes else { return stored.to_vec() };
        self.try_unpack(stored, usize::try_from(bytes).unwrap_or(usize::MAX)).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                entry,
                error,
                "inbox: a body is damaged; `inbox drop` the entry, then `reconcile` fetches the event again"
            );
            stored.to_vec()
        })
    }

    fn try_unpack(&mut self, stored: &[u8], bytes: usize) -> std::io::Result<Vec<u8>> {
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            slot @ None => slot.insert(Decompressor::with_prepared_dictionary(&DECODER)?),
        };
        let body = decompressor.decompress(stored, bytes.min(BYTES_MAX))?;
        if body.len() != bytes {
            return Err(std::io::Error::other(format!("{} bytes instead of {bytes}", body.len())));
        }
        Ok(body)
    }
}
