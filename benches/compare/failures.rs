//! Whatever did not do the work that it was measured at.

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Failures(pub(crate) Vec<Failure>);

#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Failures {
    /// The result, unless it is a failure, which is kept.
    pub(crate) fn keep<T>(&mut self, what: impl Into<String>, result: Result<T, String>) -> Option<T> {
        let what = what.into();
        result.inspect_err(|why| eprintln!("{what}: {why}")).map_err(|why| self.0.push(Failure { what, why })).ok()
    }
}
