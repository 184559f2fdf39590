//! JSON as a parameter and as a column, without a tree of values between.

use std::error::Error;
use std::fmt;

use bytes::{BufMut as _, BytesMut};
use serde::de::DeserializeOwned;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// The byte before the text of a `jsonb` on the wire.
const VERSION: u8 = 1;

/// A column of JSON, read.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<'a, T: DeserializeOwned> FromSql<'a> for Json<T> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let text = match (kind, raw) {
            (&Type::JSONB, [VERSION, text @ ..]) => text,
            (&Type::JSONB, _) => return Err("a jsonb of another version".into()),
            _ => raw,
        };
        Ok(Self(serde_json::from_slice(text)?))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::JSON | Type::JSONB)
    }
}

/// A parameter whose text is JSON.
pub struct JsonText<'a>(pub &'a str);

impl fmt::Debug for JsonText<'_> {
    /// It may contain what customers wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of JSON", self.0.len())
    }
}

impl ToSql for JsonText<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *kind == Type::JSONB {
            out.put_u8(VERSION);
        }
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_json_come_back_as_they_went() {
        for kind in [Type::JSON, Type::JSONB] {
            let mut wire = BytesMut::new();
            JsonText("[1,\"two\"]").to_sql(&kind, &mut wire).unwrap();
            let Json((one, two)) = Json::<(u8, String)>::from_sql(&kind, &wire).unwrap();
            assert_eq!((one, two.as_str()), (1, "two"), "{kind}");
        }
        assert!(Json::<u8>::from_sql(&Type::JSONB, b"\x021").is_err(), "a version that is not known");
        assert!(!format!("{:?}", JsonText("\"secret\"")).contains("secret"));
    }
}
