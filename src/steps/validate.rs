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
