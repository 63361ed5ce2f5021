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
pub(super) struct Validator {
    values: RequestValues,
    violations: Vec<Violation>,
}

impl Validator {
    /// Adds a field. An optional one may be absent, but not empty.
    pub(super) fn field(self, name: &'static str, value: Option<&str>) -> Self {
        let broken_rule = match value.map(str::len) {
            Some(0) => Some("must not be empty"),
            None | Some(1..=MAX_LEN) => None,
            Some(_) => Some("must be at most 1024 bytes long"),
        };
        self.checked_field(name, value, broken_rule)
    }

    /// Adds a field, and the rule that its value breaks.
    pub(super) fn checked_field(
        mut self,
        field: &'static str,
        value: Option<&str>,
        broken_rule: Option<&'static str>,
    ) -> Self {
        self.values.0.extend(value.map(str::to_owned));
        let violation = broken_rule.map(|rule| Violation { field, rule });
        self.violations.extend(violation);
        self
    }

    /// The values of the request.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with everything that is wrong.
    pub(super) fn finish(self) -> Result<RequestValues, Error> {
        if self.violations.is_empty() {
            Ok(self.values)
        } else {
            Err(Error::Invalid(self.violations))
        }
    }
}
