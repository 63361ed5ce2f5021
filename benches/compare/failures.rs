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
    /// Measures something, and says so before; keeps a failure.
    pub(crate) fn attempt<T>(
        &mut self,
        what: &str,
        measure: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        eprintln!("{what}");
        self.keep(what, measure())
    }

    /// Keeps a failure.
    pub(crate) fn keep<T>(&mut self, what: &str, measured: Result<T, String>) -> Option<T> {
        let why = match measured {
            Ok(measured) => return Some(measured),
            Err(why) => why,
        };
        eprintln!("{what}: {why}");
        self.0.push(Failure {
            what: what.to_owned(),
            why,
        });
        None
    }
}
