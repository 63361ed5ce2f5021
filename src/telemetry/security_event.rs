//! Which calls are security events, in the words of OWASP's logging vocabulary. The words' parameters, which are names, are
//! left out.

use tonic::Code;
use tracing::Level;

use crate::{proto::ErrorReason, rpc::Rpc};

/// The event that a call is, if it is one, and the level of its line. A call that was not sent itself has changed nothing: it
/// repeats another.
pub(super) fn security_event(
    rpc: Option<Rpc>,
    code: Code,
    reason: Option<ErrorReason>,
    was_sent: bool,
) -> Option<(&'static str, Level)> {
    match (reason, code, rpc) {
        (Some(ErrorReason::TooManyAttempts | ErrorReason::TooManyResets), ..) => {
            Some(("excess_rate_limit_exceeded", Level::WARN))
        }
        (Some(ErrorReason::CallerNotAllowed), ..) => Some(("authz_fail", Level::WARN)),
        (None, Code::Ok, Some(Rpc::UpdatePassword)) if was_sent => {
            Some(("authn_password_change", Level::INFO))
        }
        _ => None,
    }
}
