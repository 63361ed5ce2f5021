//! What is said about a setting that is wrong or missing: one line that names the setting and what it takes. The value
//! is never in it, since it may be a secret in the wrong place.

use std::{error::Error, fmt};

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A setting that is wrong or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: String,
    takes: String,
}

impl ConfigError {
    /// A flag, written with its variable.
    pub(super) fn flag(flag: &str, takes: impl Into<String>) -> Self {
        Self {
            setting: with_variable(flag),
            takes: takes.into(),
        }
    }

    /// A variable that has no flag.
    pub(crate) fn variable(name: &str, takes: impl Into<String>) -> Self {
        Self {
            setting: name.to_owned(),
            takes: takes.into(),
        }
    }

    /// The system trusts no certificates, so there must be some of one's own.
    pub(crate) fn no_certificates() -> Self {
        Self::flag(
            "--upstream-ca",
            "takes a PEM file of certificates, and must be given where the system has none",
        )
    }

    /// What the parser of the command line has to say.
    pub(super) fn of_parser(error: &clap::Error) -> Self {
        let flag = named(error, ContextKind::InvalidArg);
        match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::NoEquals => {
                let takes = error.source().map_or_else(|| "takes a value".to_owned(), ToString::to_string);
                Self::flag(&flag, takes)
            }
            ErrorKind::TooManyValues => Self::flag(&flag, "takes no value"),
            ErrorKind::MissingRequiredArgument => Self::flag(&flag, "is missing"),
            ErrorKind::ArgumentConflict => match named(error, ContextKind::PriorArg) {
                other if other.is_empty() || other == flag => Self::flag(&flag, "is given more than once"),
                other => Self::flag(&flag, format!("cannot be given together with {}", with_variable(&other))),
            },
            ErrorKind::UnknownArgument if flag.starts_with("--") => {
                Self { setting: flag, takes: "is no option of this command; --help lists them".to_owned() }
            }
            ErrorKind::InvalidUtf8 => Self { setting: "arguments".to_owned(), takes: "must be UTF-8".to_owned() },
            _ => Self {
                setting: "arguments".to_owned(),
                takes: "are a command (serve, sandbox, probe, explain) and options as --name VALUE; --help lists them"
                    .to_owned(),
            },
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.takes)
    }
}

impl Error for ConfigError {}

/// `--timeout (RESET_GATEWAY_TIMEOUT)`
fn with_variable(flag: &str) -> String {
    match flag.strip_prefix("--") {
        Some(name) => format!(
            "{flag} (RESET_GATEWAY_{})",
            name.to_uppercase().replace('-', "_")
        ),
        None => flag.to_owned(),
    }
}

/// The flag that the parser names, without what stands for its value; of several the first.
fn named(error: &clap::Error, kind: ContextKind) -> String {
    let text = match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    let end = text
        .find(|c: char| c == '=' || c.is_whitespace())
        .unwrap_or(text.len());
    text[..end].to_owned()
}
