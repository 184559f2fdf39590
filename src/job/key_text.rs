//! Keys of 32 bytes as people hand them around, and their short names.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// Bytes of a key, secret or public.
pub(super) const KEY_BYTES: usize = 32;

/// Hex digits of a key's short name.
pub(super) const KID_DIGITS: usize = 16;

/// 32 bytes from 64 hex digits or from base64, with or without padding. White space around the text is ignored.
pub(super) fn key_bytes(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let text = text.trim_ascii();
    let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
    if text.len() == 2 * KEY_BYTES {
        return hex::decode_to_slice(text, bytes.as_mut_slice()).is_ok().then_some(bytes);
    }
    let engine = if text.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
    let decoded = Zeroizing::new(engine.decode(text).ok()?);
    if decoded.len() != KEY_BYTES {
        return None;
    }
    bytes.copy_from_slice(&decoded);
    Some(bytes)
}
