//! A JSON object whose members are found by name in any case: the API's layers write both `Message` and `message`.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::ApiErrorKind::{self, Malformed};

/// A JSON object whose members stay text until they are read, each as the expected type.
#[derive(Default)]
pub(super) struct JsonObject<'a>(Vec<(String, &'a RawValue)>);

impl<'a> JsonObject<'a> {
    /// `None` if the body is not a JSON object. Skips a byte-order mark, which ASP.NET may write.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        serde_json::from_slice(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)).ok()
    }

    /// The member with this name; `None` if it is absent or `null`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it has another type than documented, or occurs twice.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, ApiErrorKind> {
        let mut found = self
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => serde_json::from_str(value.get()).map_err(|_| Malformed),
            (Some(_), Some(_)) => Err(Malformed),
        }
    }

    /// A list of strings: empty if it is absent or `null`, with an empty string for each entry that is `null`.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, ApiErrorKind> {
        let list: Vec<Option<String>> = self.get(name)?.unwrap_or_default();
        Ok(list.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The members in their original order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonObject::default())
    }
}

/// Collects the members one by one, because a map would lose the order and members that occur twice.
impl<'de> Visitor<'de> for JsonObject<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(member) = map.next_entry()? {
            self.0.push(member);
        }
        Ok(self)
    }
}
