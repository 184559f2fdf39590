//! Enums whose values have one stable name each: in files, on the wire, on the command line and in metrics.

/// A text that is not one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName(pub &'static [&'static str]);

impl std::fmt::Display for UnknownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (last, others) = self.0.split_last().unwrap_or((&"nothing", &[]));
        write!(f, "must be {} or {last}", others.join(", "))
    }
}

impl std::error::Error for UnknownName {}

/// Declares such an enum, so that each name is written only once.
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            $vis const ALL: [Self; Self::NAMES.len()] = [$(Self::$variant),+];

            /// In the order of [`Self::ALL`].
            $vis const NAMES: [&'static str; [$($text),+].len()] = [$($text),+];

            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::named::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::domain::named::UnknownName(&Self::NAMES)),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|_| serde::de::Error::unknown_variant(&text, &Self::NAMES))
            }
        }
    };
}
pub(crate) use named;

#[cfg(test)]
mod tests {
    named! {
        enum Colour {
            Red = "red",
            /// Like the sky.
            Blue = "light_blue",
        }
    }

    #[test]
    fn a_value_has_the_same_name_everywhere() {
        for colour in Colour::ALL {
            assert_eq!(colour.as_str().parse(), Ok(colour));
            assert_eq!(serde_json::to_value(colour).unwrap(), colour.as_str());
            assert_eq!(serde_json::from_value::<Colour>(colour.as_str().into()).unwrap(), colour);
            assert_eq!(format!("{colour:>10}").trim(), colour.as_str());
        }
        assert_eq!(Colour::NAMES, ["red", "light_blue"]);
    }

    #[test]
    fn a_name_that_is_none_is_told_what_there_is() {
        assert_eq!("green".parse::<Colour>().unwrap_err().to_string(), "must be red or light_blue");
        let error = serde_json::from_str::<Colour>(r#""green""#).unwrap_err().to_string();
        assert!(error.contains("green") && error.contains("`light_blue`"), "{error}");
    }
}
