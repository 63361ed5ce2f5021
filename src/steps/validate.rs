//! What the contract asks of the fields of a request, checked before anything is sent.

use crate::{
    envelope::RequestValues,
    error::{Error, Violation},
};

/// The longest value of a field, in bytes. The rules for passwords and codes are the API's; this only bounds the work.
const MAX_LEN: usize = 1024;

/// The fields of one request, as far as they have been looked at.
#[derive(Default)]
pub(super) struct Fields<'a> {
    values: Vec<&'a str>,
    violations: Vec<Violation>,
}

impl<'a> Fields<'a> {
    /// A field that must have a value.
    pub(super) fn required(&mut self, field: &'static str, value: &'a str) -> &mut Self {
        self.values.push(value);
        if value.is_empty() {
            self.violation(field, "must not be empty");
        } else if value.len() > MAX_LEN {
            self.violation(field, "must be at most 1024 bytes long");
        }
        self
    }

    /// A field that may be left out, but not empty.
    pub(super) fn optional(&mut self, field: &'static str, value: Option<&'a str>) -> &mut Self {
        if let Some(value) = value {
            self.required(field, value);
        }
        self
    }

    /// A field that may be left out, but must not differ from another.
    pub(super) fn confirmation(
        &mut self,
        field: &'static str,
        value: Option<&'a str>,
        of: &str,
    ) -> &mut Self {
        self.values.extend(value);
        if value.is_some_and(|value| value != of) {
            self.violation(field, "must equal the password, or be left out");
        }
        self
    }

    /// The values of the request, if all of them are as they should be.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every field that is not.
    pub(super) fn check(&mut self) -> Result<RequestValues, Error> {
        if self.violations.is_empty() {
            Ok(RequestValues::of(self.values.iter().copied()))
        } else {
            Err(Error::Invalid(std::mem::take(&mut self.violations)))
        }
    }

    fn violation(&mut self, field: &'static str, rule: &'static str) {
        self.violations.push(Violation { field, rule });
    }
}
