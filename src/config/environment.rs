//! Environment variables that have no flag: our own, read strictly, and OpenTelemetry's, read by OpenTelemetry's rule.

use std::{env, ffi::OsString};

use super::ConfigError;

/// The value of a variable of ours. An empty one counts as unset.
///
/// # Errors
///
/// If the value is not UTF-8.
pub(super) fn variable(name: &str) -> Result<Option<String>, ConfigError> {
    let value = env::var_os(name).filter(|value| !value.is_empty());
    let text = value.map(OsString::into_string).transpose();
    text.map_err(|_| ConfigError::variable(name, "must be UTF-8"))
}

/// Checks that every variable whose name starts with `prefix` is UTF-8.
///
/// # Errors
///
/// The name of the first one that is not.
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

/// A value that was not understood, and so was ignored.
#[derive(Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The variable's name. Its value may be a secret.
    pub variable: String,
    /// What the variable takes.
    pub expected: &'static str,
}

/// Reads variables by OpenTelemetry's rule: an empty value is unset, and a value that is not understood is ignored and
/// warned of once.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) ignored: Vec<Ignored>,
}

impl Variables {
    pub(super) fn get<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = env::var_os(name).filter(|value| !value.is_empty())?;
        let parsed = value.to_str().and_then(parse);
        if parsed.is_none() {
            self.ignore(name, expected);
        }
        parsed
    }

    /// The items of a comma-separated list, without those that are not understood.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let list = self.get(name, expected, |list| Some(list.to_owned()));
        let items = list.iter().flat_map(|list| list.split(',')).map(parse);
        let items: Vec<_> = items.collect();
        if items.iter().any(Option::is_none) {
            self.ignore(name, expected);
        }
        items.into_iter().flatten().collect()
    }

    /// A setting of an exporter: the signal's own variable, or else the one for all signals.
    pub(super) fn otlp<T>(
        &mut self,
        signal: &str,
        setting: &str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{setting}");
        let shared = format!("OTEL_EXPORTER_OTLP_{setting}");
        let value = self.get(&own, expected, &parse);
        value.or_else(|| self.get(&shared, expected, &parse))
    }

    pub(super) fn ignore(&mut self, name: &str, expected: &'static str) {
        let variable = name.to_owned();
        let ignored = Ignored { variable, expected };
        if !self.ignored.contains(&ignored) {
            self.ignored.push(ignored);
        }
    }
}
