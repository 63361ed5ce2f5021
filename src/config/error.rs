//! What is wrong with a setting: one line that names the setting and what it takes. The line never
//! holds the value, which may be a secret in the wrong place.

use std::{error::Error, fmt::Display};

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A setting that is wrong or missing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// An error of a flag, which is written with its variable.
    pub(super) fn flag(flag: &str, expected: impl Display) -> Self {
        Self(format!("{} {expected}", with_variable(flag)))
    }

    /// An error of a variable that has no flag.
    pub(crate) fn variable(name: &str, expected: impl Display) -> Self {
        Self(format!("{name} {expected}"))
    }

    /// The system trusts no certificates, and none were given.
    pub(crate) fn no_certificates() -> Self {
        Self::flag(
            "--upstream-ca",
            "takes a PEM file of certificates, and must be given where the system has none",
        )
    }

    /// An error of the command line's parser.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let flag = named(error, ContextKind::InvalidArg);
        match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::NoEquals => {
                let expected = error.source().map(ToString::to_string);
                Self::flag(flag, expected.as_deref().unwrap_or("takes a value"))
            }
            ErrorKind::TooManyValues => Self::flag(flag, "takes no value"),
            ErrorKind::MissingRequiredArgument => Self::flag(flag, "is missing"),
            ErrorKind::ArgumentConflict => match named(error, ContextKind::PriorArg) {
                other if other.is_empty() || other == flag => {
                    Self::flag(flag, "is given more than once")
                }
                other => {
                    let other = with_variable(other);
                    Self::flag(flag, format!("cannot be given together with {other}"))
                }
            },
            ErrorKind::UnknownArgument if flag.starts_with("--") => {
                Self::variable(flag, "is no option of this command; --help lists them")
            }
            ErrorKind::InvalidUtf8 => Self::variable("arguments", "must be UTF-8"),
            _ => Self::variable(
                "arguments",
                "are a command (serve, sandbox, probe, explain) and options as --name VALUE; --help lists them",
            ),
        }
    }
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
fn named(error: &clap::Error, kind: ContextKind) -> &str {
    let text = match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    text.split(|c: char| c == '=' || c.is_whitespace())
        .next()
        .unwrap_or_default()
}
