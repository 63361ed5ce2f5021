//! The variables that have no flag.

use std::{env, ffi::OsString, time::Duration};

use percent_encoding::percent_decode_str;

use super::ConfigError;

/// What every number of the SDK's can hold.
pub(super) const MAX_NUMBER: usize = 2_147_483_647;

/// A variable that has a value; by the OpenTelemetry specification an empty one has none.
///
/// # Errors
///
/// If the value is not UTF-8.
pub(super) fn variable(name: &str) -> Result<Option<String>, ConfigError> {
    match env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(OsString::into_string)
    {
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
    odd.map_or(Ok(()), |(name, _)| {
        Err(ConfigError::variable(
            &name.to_string_lossy(),
            "must be UTF-8",
        ))
    })
}

/// A whole number above 0.
pub(super) fn number(name: &str, most: usize) -> Result<Option<usize>, ConfigError> {
    let parse = |value: String| {
        value
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
    };
    match variable(name)?.map(parse) {
        None => Ok(None),
        Some(Some(number)) => Ok(Some(number)),
        Some(None) => Err(ConfigError::variable(
            name,
            format!("takes a whole number from 1 to {most}"),
        )),
    }
}

pub(super) fn milliseconds(name: &str) -> Result<Option<Duration>, ConfigError> {
    Ok(number(name, MAX_NUMBER)?.map(|number| Duration::from_millis(number as u64)))
}

pub(super) fn one_of(name: &str, known: &[&str]) -> Result<(), ConfigError> {
    let is_known = |value: String| known.iter().any(|known| value.eq_ignore_ascii_case(known));
    if variable(name)?.is_none_or(is_known) {
        Ok(())
    } else {
        Err(ConfigError::variable(
            name,
            format!("takes {}", known.join(" or ")),
        ))
    }
}

/// `key=value,key=value`, percent-encoded, if all pairs are as they should be.
pub(super) fn pairs(
    name: &str,
    is_right: impl Fn(&str, &str) -> bool,
    takes: &str,
) -> Result<Vec<(String, String)>, ConfigError> {
    let Some(list) = variable(name)? else {
        return Ok(Vec::new());
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (
            key.trim(),
            percent_decode_str(value.trim()).decode_utf8().ok()?,
        );
        (!key.is_empty() && is_right(key, &value)).then(|| (key.to_owned(), value.into_owned()))
    };
    let pairs: Option<_> = list.split(',').map(pair).collect();
    pairs.ok_or_else(|| ConfigError::variable(name, takes))
}
