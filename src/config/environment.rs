//! Reads variables by OpenTelemetry's rule: an empty value counts as unset, and a value that is not understood is ignored
//! and warned of.

use std::{collections::BTreeMap, env, ffi::OsString};

/// The environment's variables. A parser's error says what the variable takes.
#[derive(Default)]
pub(super) struct Variables {
    /// The variables whose value was not understood, and what they take.
    pub(super) ignored: BTreeMap<String, String>,
}

impl Variables {
    /// The value of a variable; `None` if it is unset or not understood.
    pub(super) fn get<T, E: Into<String>>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(&value(name)?);
        parsed.map_err(|expected| self.ignore(name, expected)).ok()
    }

    /// The items of a comma-separated list, without those that are not understood.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let list = value(name);
        let items = list.iter().flat_map(|list| list.split(','));
        let items: Vec<_> = items.map(parse).collect();
        if items.iter().any(Option::is_none) {
            self.ignore(name, expected);
        }
        items.into_iter().flatten().collect()
    }

    /// A setting of an exporter: the signal's own variable, or else the one for all signals.
    pub(super) fn otlp<T, E: Into<String>>(
        &mut self,
        signal: &str,
        setting: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{signal}_{setting}"), &parse);
        own.or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{setting}"), parse))
    }

    /// Keeps the name of a variable that is not understood, but not its value, which may be a secret.
    pub(super) fn ignore(&mut self, name: &str, expected: impl Into<String>) {
        self.ignored.insert(name.to_owned(), expected.into());
    }
}

/// The value of a variable that is set. A value that is not UTF-8 becomes empty text, which no parser accepts.
fn value(name: &str) -> Option<String> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    Some(OsString::into_string(value).unwrap_or_default())
}
