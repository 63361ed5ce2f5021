//! Checks the fields of a request before anything is sent.

use uuid::{Uuid, fmt::Hyphenated};

use crate::{
    envelope::PrivateValues,
    error::{Error, Violation},
};

/// The longest value of a field, in bytes. Rules for passwords and codes are the API's; this only
/// bounds the work.
const MAX_LEN: usize = 1024;

/// Collects the values of a request, and what is wrong with them.
#[derive(Default)]
pub(super) struct Validator {
    values: PrivateValues,
    request_id: Option<Uuid>,
    violations: Vec<Violation>,
}

/// What the fields of a valid request hold.
pub(super) struct Validated {
    pub(super) values: PrivateValues,
    pub(super) request_id: Option<Uuid>,
}

impl Validator {
    /// Adds a field. An optional one may be absent, but not empty.
    pub(super) fn field(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.values.0.extend(value.map(str::to_owned));
        let length = value.map_or(1, str::len);
        let checked = self.check(name, "must not be empty", length > 0);
        checked.check(name, "must be at most 1024 bytes long", length <= MAX_LEN)
    }

    /// Records a violation of the rule, unless the field keeps it.
    pub(super) fn check(mut self, field: &'static str, rule: &'static str, is_kept: bool) -> Self {
        if !is_kept {
            self.violations.push(Violation { field, rule });
        }
        self
    }

    /// Adds the id of a write. It may be absent.
    pub(super) fn request_id(mut self, text: Option<&str>) -> Self {
        self.request_id = text.and_then(parse_request_id);
        let rule = "must be a UUID such as 5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21, and not nil";
        let is_valid = self.request_id.is_some() == text.is_some();
        self.check("request_id", rule, is_valid)
    }

    /// The contents of the request.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with everything that is wrong.
    pub(super) fn finish(self) -> Result<Validated, Error> {
        if !self.violations.is_empty() {
            return Err(Error::Invalid(self.violations));
        }
        Ok(Validated {
            values: self.values,
            request_id: self.request_id,
        })
    }
}

/// Reads an id: a UUID in its usual form with hyphens, in either case. The nil UUID is what a client that forgot to choose
/// one sends.
pub(crate) fn parse_request_id(text: &str) -> Option<Uuid> {
    let id = text.parse::<Hyphenated>().ok()?.into_uuid();
    Some(id).filter(|id| !id.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_with_hyphens_in_either_case() {
        let text = "5b0f8a52-93ae-4cf1-a5a4-6a1f3c0e7d21";
        let id = Uuid::from_u128(0x5b0f_8a52_93ae_4cf1_a5a4_6a1f_3c0e_7d21);
        for (text, expected) in [
            (text.to_owned(), Some(id)),
            (text.to_uppercase(), Some(id)),
            (text.replace('-', ""), None),
            (text.replace('b', "g"), None),
            (text.replace('a', "é"), None),
            (format!("{{{text}}}"), None),
            (format!("urn:uuid:{text}"), None),
            (format!(" {text}"), None),
            (format!("{text}0"), None),
            (text[1..].to_owned(), None),
            (Uuid::nil().to_string(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse_request_id(&text), expected, "{text:?}");
        }
    }
}
