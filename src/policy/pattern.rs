//! The patterns of a policy: a text, its beginning, its end, or any text but the empty one.

use serde::Deserialize;

/// What is expected of a pattern, for error messages.
const EXPECTED: &str = "a pattern is text, text*, *text or *, and not empty";
const EXPECTED_PATH: &str =
    "a path is /package.Service/Method, or a pattern that begins with / or *";

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    NotEmpty,
}

impl TryFrom<String> for Pattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let (pattern, literal) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(""), _) => return Ok(Self::NotEmpty),
            (Some(suffix), _) => (Self::Suffix(suffix.to_owned()), suffix),
            (None, Some(prefix)) => (Self::Prefix(prefix.to_owned()), prefix),
            (None, None) => (Self::Exact(text.clone()), &*text),
        };
        let is_valid = !literal.is_empty() && !literal.contains('*');
        is_valid.then_some(pattern).ok_or(EXPECTED)
    }
}

impl Pattern {
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Suffix(text) => value.ends_with(text.as_bytes()),
            Self::NotEmpty => !value.is_empty(),
        }
    }
}

/// A pattern of names. Unlike others it may be empty: then it stands for a caller without a certificate on TLS.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PrincipalPattern(pub(super) Pattern);

impl TryFrom<String> for PrincipalPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match &*text {
            "" => Ok(Self(Pattern::Exact(text))),
            _ => text.try_into().map(Self),
        }
    }
}

/// A pattern of paths. One that can match no path is refused: in a deny rule it would be a hole.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PathPattern(pub(super) Pattern);

impl TryFrom<String> for PathPattern {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_possible = text.is_empty() || text.starts_with(['/', '*']);
        let pattern = text.try_into()?;
        is_possible.then_some(Self(pattern)).ok_or(EXPECTED_PATH)
    }
}
