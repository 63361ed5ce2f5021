//! Checks the fields of a request before anything is sent.

use crate::{
    envelope::RequestValues,
    error::{Error, Violation},
};

/// The longest value of a field, in bytes. Rules for passwords and codes are the API's; this only
/// bounds the work.
const MAX_LEN: usize = 1024;

/// Collects the values of a request, and what is wrong with them.
#[derive(Default)]
pub(super) struct Validator<'a> {
    values: Vec<&'a str>,
    violations: Vec<Violation>,
}

impl<'a> Validator<'a> {
    /// The field must have a value.
    pub(super) fn required(mut self, field: &'static str, value: &'a str) -> Self {
        self.values.push(value);
        if value.is_empty() {
            self.violation(field, "must not be empty");
        } else if value.len() > MAX_LEN {
            self.violation(field, "must be at most 1024 bytes long");
        }
        self
    }

    /// The field may be absent, but not empty.
    pub(super) fn optional(self, field: &'static str, value: Option<&'a str>) -> Self {
        match value {
            Some(value) => self.required(field, value),
            None => self,
        }
    }

    /// The field may be absent, but not differ from the password.
    pub(super) fn confirmation(
        mut self,
        field: &'static str,
        value: Option<&'a str>,
        password: &str,
    ) -> Self {
        self.values.extend(value);
        if value.is_some_and(|value| value != password) {
            self.violation(field, "must equal the password, or be left out");
        }
        self
    }

    /// The values of the request.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with everything that is wrong.
    pub(super) fn finish(self) -> Result<RequestValues, Error> {
        if self.violations.is_empty() {
            let values = self.values.into_iter().map(str::to_owned);
            Ok(RequestValues(values.collect()))
        } else {
            Err(Error::Invalid(self.violations))
        }
    }

    fn violation(&mut self, field: &'static str, rule: &'static str) {
        self.violations.push(Violation { field, rule });
    }
}
