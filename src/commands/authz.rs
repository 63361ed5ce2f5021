//! The `authz` command: prints what a policy decides about a call that is described by options. It starts no server.

use serde_json::json;

use crate::{
    config::{self, ConfigError},
    policy::{Policy, Request},
};

/// Returns whether the policy allows the call, and the decision as JSON.
///
/// # Errors
///
/// If the policy cannot be read or is invalid.
pub(crate) fn authz(config: &config::Authz) -> Result<(bool, String), ConfigError> {
    let file = Policy::load("--policy", &config.policy)?;
    let decision = file.subscribe().borrow().decide(&Request {
        principals: &config.principal,
        path: &config.path,
        headers: &config.header.iter().cloned().collect(),
    });
    let json = json!({
        "authorized": decision.is_allowed,
        "policy": *decision.policy,
        "rule": decision.rule.as_deref(),
    });
    Ok((decision.is_allowed, format!("{json:#}")))
}
