//! The variables that have no flag.

use std::{env, ffi::OsString};

use super::ConfigError;

/// A variable that has a value; by the OpenTelemetry specification an empty one has none.
///
/// # Errors
///
/// If the value is not UTF-8.
pub(super) fn variable(name: &str) -> Result<Option<String>, ConfigError> {
    match env::var_os(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(ConfigError::variable(name, "must be UTF-8")),
    }
}

/// Checks that all variables whose name begins so have a value that is text.
///
/// # Errors
///
/// The name of the first that has not.
pub(super) fn check_encoding(prefix: &str) -> Result<(), ConfigError> {
    let is_ours = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(prefix));
    let odd = env::vars_os().find(|(name, value)| is_ours(name) && value.to_str().is_none());
    odd.map_or(Ok(()), |(name, _)| Err(ConfigError::variable(&name.to_string_lossy(), "must be UTF-8")))
}
