//! The rules of a policy. A rule matches a call if both its source and its request do; a part that is absent or empty always
//! does.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::{
    Request,
    object::Object,
    pattern::{PathPattern, Pattern, PrincipalPattern},
};

/// The headers that a rule cannot name, beside those that begin with `grpc-` or a colon.
const UNSUPPORTED_HEADERS: [&str; 10] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const EXPECTED_KEY: &str = "of the headers, all can be named but host, those of one connection, and those that begin with : or grpc-";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Name,
    #[serde(default)]
    source: Object<Source>,
    #[serde(default)]
    request: Object<RequestPatterns>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Source {
    principals: Vec<PrincipalPattern>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestPatterns {
    paths: Vec<PathPattern>,
    headers: Vec<Object<HeaderPatterns>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderPatterns {
    key: Key,
    values: Values,
}

impl Rule {
    pub(super) fn matches(&self, request: &Request<'_>) -> bool {
        let RequestPatterns { paths, headers } = &self.request.0;
        self.source.0.matches(request.principals)
            && (paths.is_empty() || paths.iter().any(|it| it.0.matches(request.path.as_bytes())))
            && headers.iter().all(|it| it.0.matches(request.headers))
    }
}

impl Source {
    fn matches(&self, names: &[String]) -> bool {
        let is_named = |pattern: &PrincipalPattern| {
            names.iter().any(|name| pattern.0.matches(name.as_bytes()))
        };
        self.principals.is_empty() || self.principals.iter().any(is_named)
    }
}

impl HeaderPatterns {
    fn matches(&self, headers: &HeaderMap) -> bool {
        let value = joined_values(headers, &self.key.0);
        value.is_some_and(|value| self.values.0.iter().any(|it| it.matches(&value)))
    }
}

/// The values of a header without blanks around them, joined by commas; `None` if there is no such header.
fn joined_values<'a>(headers: &'a HeaderMap, key: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let values = headers.get_all(key).iter();
    let mut values = values.map(|value| value.as_bytes().trim_ascii());
    let first = Cow::Borrowed(values.next()?);
    Some(values.fold(first, |joined, value| {
        Cow::Owned([&joined, value].join(&b','))
    }))
}

/// The name of a policy or a rule.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) Arc<str>);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        let is_empty = name.is_empty();
        (!is_empty)
            .then(|| Self(name.into()))
            .ok_or("a name has at least one character")
    }
}

/// The name of a header that a rule can name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Key(HeaderName);

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let key = HeaderName::from_bytes(text.as_bytes()).ok().filter(|key| {
            !key.as_str().starts_with("grpc-") && !UNSUPPORTED_HEADERS.contains(&key.as_str())
        });
        key.map(Self).ok_or(EXPECTED_KEY)
    }
}

/// Patterns of a header's value. As in the value, blanks around them do not count: with them a pattern could match nothing.
#[derive(Deserialize)]
#[serde(try_from = "Vec<String>")]
struct Values(Vec<Pattern>);

impl TryFrom<Vec<String>> for Values {
    type Error = &'static str;

    fn try_from(texts: Vec<String>) -> Result<Self, &'static str> {
        if texts.is_empty() {
            return Err("values takes at least one pattern");
        }
        let trimmed = texts.iter().map(|text| text.trim_ascii().to_owned());
        trimmed
            .map(Pattern::try_from)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}
