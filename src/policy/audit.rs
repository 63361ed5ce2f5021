//! Which decisions a policy asks to log. They are logged on the call's own line, whatever loggers it names.

use serde::{Deserialize, de::IgnoredAny};

use super::object::Object;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditOptions {
    audit_condition: AuditCondition,
    #[serde(rename = "audit_loggers")]
    _loggers: Vec<Logger>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum AuditCondition {
    None,
    /// The default, for a policy that names no condition.
    #[default]
    OnDeny,
    OnAllow,
    OnDenyAndAllow,
}

impl AuditOptions {
    pub(super) fn covers(&self, is_allowed: bool) -> bool {
        match self.audit_condition {
            AuditCondition::None => false,
            AuditCondition::OnDeny => !is_allowed,
            AuditCondition::OnAllow => is_allowed,
            AuditCondition::OnDenyAndAllow => true,
        }
    }
}

/// A logger that a policy can name: one that the gateway stands in for, or one that may be missing.
#[derive(Deserialize)]
#[serde(try_from = "Object<LoggerFile>")]
struct Logger;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggerFile {
    name: String,
    #[serde(default)]
    is_optional: bool,
    #[serde(default, rename = "config")]
    _config: IgnoredAny,
}

impl TryFrom<Object<LoggerFile>> for Logger {
    type Error = &'static str;

    fn try_from(Object(logger): Object<LoggerFile>) -> Result<Self, &'static str> {
        let is_known = logger.is_optional || logger.name == "stdout_logger";
        let expected = "a logger other than stdout_logger takes \"is_optional\": true";
        is_known.then_some(Self).ok_or(expected)
    }
}
