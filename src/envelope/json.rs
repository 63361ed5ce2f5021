//! The members of a JSON object, found by name without regard to case: the API's layers write `Message` and `message`,
//! `Error` and `error`.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON object whose members are still text: each is parsed when it is asked for, as what it has to be.
#[derive(Default)]
pub(super) struct JsonObject<'a>(Vec<(String, &'a RawValue)>);

/// A member that is there, but not as documented: of another type, or twice.
#[derive(Debug)]
pub(super) struct Unreadable;

impl<'a> JsonObject<'a> {
    /// `None` if the body is not one JSON object. A byte-order mark before it is passed over: ASP.NET may write one.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        serde_json::from_slice(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)).ok()
    }

    /// The member of that name; `None` if it is absent or `null`.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Unreadable> {
        let mut found = self
            .0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => serde_json::from_str(value.get()).map_err(|_| Unreadable),
            (Some(_), Some(_)) => Err(Unreadable),
        }
    }

    /// A list of strings, of which any may be `null`, and then is empty; no strings if it is absent or `null` itself.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, Unreadable> {
        let list: Option<Vec<Option<String>>> = self.get(name)?;
        Ok(list
            .into_iter()
            .flatten()
            .map(Option::unwrap_or_default)
            .collect())
    }

    /// The members in the order in which they are written.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonObject(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
