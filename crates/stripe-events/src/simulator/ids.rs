//! Identifiers that look like Stripe's: a prefix and base62, the first digits growing with time.

/// Digits in the order of their bytes, so that text order is time order.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of a time stamp in an identifier: 62^6 seconds reach past the year 3700.
const TIME_DIGITS: usize = 6;

/// Digits that all identifiers of one simulated account share.
const TAG_DIGITS: usize = 8;

/// Makes the identifiers of one simulated account.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    tag: String,
}

impl Ids {
    /// Draws the account from `random`.
    pub(super) fn new(random: &mut fastrand::Rng) -> Self {
        let mut tag = String::with_capacity(TAG_DIGITS);
        push_random(&mut tag, TAG_DIGITS, random);
        Self { tag }
    }

    /// `<prefix>_` and 24 digits: six for the second, eight for the account, ten drawn. Two of the same second come
    /// in any order, as Stripe's do.
    pub(super) fn dated(&self, prefix: &str, seconds: i64, random: &mut fastrand::Rng) -> String {
        let mut id = String::with_capacity(prefix.len() + 25);
        id.push_str(prefix);
        id.push('_');
        let mut rest = u64::try_from(seconds).unwrap_or(0);
        let mut time = [b'0'; TIME_DIGITS];
        for digit in time.iter_mut().rev() {
            *digit = DIGITS[usize::try_from(rest % 62).unwrap_or(0)];
            rest /= 62;
        }
        id.extend(time.iter().copied().map(char::from));
        id.push_str(&self.tag);
        push_random(&mut id, 24 - TIME_DIGITS - TAG_DIGITS, random);
        id
    }
}

/// `<prefix>_` and drawn digits.
pub(super) fn drawn(prefix: &str, digits: usize, random: &mut fastrand::Rng) -> String {
    let mut id = String::with_capacity(prefix.len() + 1 + digits);
    id.push_str(prefix);
    id.push('_');
    push_random(&mut id, digits, random);
    id
}

/// A version 4 UUID, the form of user identifiers in the applications the gateway serves.
pub(super) fn uuid(random: &mut fastrand::Rng) -> String {
    let bits = (random.u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn push_random(text: &mut String, digits: usize, random: &mut fastrand::Rng) {
    text.extend((0..digits).map(|_| char::from(DIGITS[random.usize(..DIGITS.len())])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dated_identifiers_have_stripes_form_and_sort_by_second() {
        let mut random = fastrand::Rng::with_seed(1);
        let ids = Ids::new(&mut random);
        let made: Vec<String> = (0..200).map(|n| ids.dated("evt", 1_700_000_000 + n * 7, &mut random)).collect();
        assert!(made.is_sorted());
        for id in &made {
            assert_eq!(id.len(), 28, "{id}");
            assert!(id.starts_with("evt_1"), "{id}");
            assert!(id[4..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        }
    }

    #[test]
    fn user_identifiers_are_version_4_uuids() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..100 {
            let id = uuid(&mut random);
            assert_eq!(id.len(), 36);
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        }
    }
}
