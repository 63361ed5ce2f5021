//! JSON as the API's layers write it: `Message` or `message`, one string in place of a list, half a surrogate pair.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::ApiErrorKind::{self, Malformed};

/// A JSON object whose members are found by name in any case. They stay text until they are read, each as the expected
/// type, so that one that is not needed may be anything.
#[derive(Default)]
pub(super) struct JsonObject<'a>(Vec<(Text, &'a RawValue)>);

/// A JSON string, with replacement characters for the halves of surrogate pairs that stand alone.
pub(super) struct Text(pub(super) String);

impl<'a> JsonObject<'a> {
    /// `None` if the body is not a JSON object. Skips a byte-order mark, which ASP.NET may write.
    pub(super) fn parse(body: &'a str) -> Option<Self> {
        serde_json::from_str(body.strip_prefix('\u{feff}').unwrap_or(body)).ok()
    }

    /// The member with this name; `None` if it is absent or `null`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it has another type than expected, or occurs twice.
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

    /// A member that is a string; `None` if there is none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).ok().flatten().map(|Text(text)| text)
    }

    /// A member that is an object; without members if there is none.
    pub(super) fn object(&self, name: &str) -> Self {
        self.get(name).ok().flatten().unwrap_or_default()
    }

    /// The [`strings`] of a member; none if it is absent or `null`.
    pub(super) fn strings(&self, name: &str) -> Result<Vec<String>, ApiErrorKind> {
        self.get(name)?.map_or(Ok(Vec::new()), strings)
    }

    /// The members in their original order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0
            .iter()
            .map(|(Text(key), value)| (key.as_str(), *value))
    }
}

/// Reads a list of strings, which the API may write in several forms:
///
/// | value | entries |
/// | --- | --- |
/// | a list | one for each of its entries: the string, or `""` for `null` and for any other type |
/// | a string | the string; none if it is empty |
/// | an object | `""` for each member |
///
/// # Errors
///
/// [`Malformed`] if the value has another type, or is a list whose entries are all of other types than string and `null`.
pub(super) fn strings(value: &RawValue) -> Result<Vec<String>, ApiErrorKind> {
    if let Some(text) = text(value) {
        return Ok(Vec::from_iter((!text.is_empty()).then_some(text)));
    }
    if value.get().starts_with('{') {
        let object: JsonObject<'_> = serde_json::from_str(value.get()).map_err(|_| Malformed)?;
        return Ok(vec![String::new(); object.0.len()]);
    }
    let list: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| Malformed)?;
    let is_other = |entry: &&RawValue| entry.get() != "null" && text(entry).is_none();
    if !list.is_empty() && list.iter().all(is_other) {
        return Err(Malformed);
    }
    let string = |entry| text(entry).unwrap_or_default();
    Ok(list.into_iter().map(string).collect())
}

fn text(value: &RawValue) -> Option<String> {
    // Looked at first, because serde_json takes long to say why something else is no string.
    let json = Some(value.get()).filter(|json| json.starts_with('"'))?;
    serde_json::from_str(json).ok().map(|Text(text)| text)
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

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes: in a string serde_json takes a lone half for an error.
        #[derive(Deserialize)]
        struct Bytes<'a>(#[serde(borrow)] Cow<'a, [u8]>);
        let Bytes(bytes) = Bytes::deserialize(deserializer)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
