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
    /// A field that may be absent if it is an `Option`, but not empty.
    pub(super) fn field(self, name: &'static str, value: impl Into<Option<&'a str>>) -> Self {
        self.check(name, value.into(), |value| match value.len() {
            0 => Some("must not be empty"),
            1..=MAX_LEN => None,
            _ => Some("must be at most 1024 bytes long"),
        })
    }

    /// A field that may be absent. `rule` returns the rule that the value breaks.
    pub(super) fn check(
        mut self,
        field: &'static str,
        value: Option<&'a str>,
        rule: impl FnOnce(&str) -> Option<&'static str>,
    ) -> Self {
        self.values.extend(value);
        let broken = value.and_then(rule);
        self.violations
            .extend(broken.map(|rule| Violation { field, rule }));
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
}
