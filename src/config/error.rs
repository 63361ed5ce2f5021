//! What is wrong with a setting: one line that names the setting and what it takes. The line never
//! holds the value, which may be a secret in the wrong place.

use std::{error::Error, fmt::Display};

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A setting that is wrong or missing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error of a setting: a flag, which is written with its variable, or a variable that has no flag.
    pub(crate) fn new(setting: &str, expected: impl Display) -> Self {
        Self(format!("{} {expected}", with_variable(setting)))
    }

    /// An error of the command line's parser.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let flag = named(error, ContextKind::InvalidArg);
        let other = named(error, ContextKind::PriorArg);
        let wrong = |expected: &str| Self::new(&flag, expected);
        match error.kind() {
            ErrorKind::ValueValidation => {
                let expected = error.source().map(ToString::to_string);
                wrong(&expected.unwrap_or_default())
            }
            ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(words)) if !words.is_empty() => wrong(&one_of(words)),
                _ => wrong("takes a value"),
            },
            ErrorKind::TooManyValues => wrong("takes no value"),
            ErrorKind::MissingRequiredArgument => wrong("is missing"),
            ErrorKind::ArgumentConflict if other == flag => wrong("is given more than once"),
            ErrorKind::ArgumentConflict => wrong(&format!(
                "cannot be given together with {}",
                with_variable(&other)
            )),
            ErrorKind::UnknownArgument if flag.starts_with("--") => Self(format!(
                "{flag} is no option of this command; --help lists them"
            )),
            _ => Self(USAGE.to_owned()),
        }
    }
}

const USAGE: &str = "arguments are a command (serve, sandbox, probe, explain, authz, completions) and options as --name VALUE; --help lists them";

/// `takes a, b or c`
pub(super) fn one_of(words: &[impl AsRef<str>]) -> String {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    let (last, others) = words.split_last().expect("there are words");
    format!("takes {} or {last}", others.join(", "))
}

/// The variable of a flag, which is given without its dashes.
pub(super) fn variable_of(flag: &str) -> String {
    format!("RESET_GATEWAY_{}", flag.to_uppercase().replace('-', "_"))
}

/// `--timeout (RESET_GATEWAY_TIMEOUT)`
fn with_variable(flag: &str) -> String {
    match flag.strip_prefix("--") {
        Some(name) => format!("{flag} ({})", variable_of(name)),
        None => flag.to_owned(),
    }
}

/// The first flag that the parser names, without its value.
fn named(error: &clap::Error, kind: ContextKind) -> String {
    let flags = error.get(kind).map(ToString::to_string);
    let mut flags = flags.unwrap_or_default();
    flags.truncate(flags.find(['=', ',', ' ', '\n']).unwrap_or(flags.len()));
    flags
}
