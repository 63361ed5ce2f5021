//! Turns an error into a gRPC status: this table, and the details that clients can act on.
//!
//! **UNAVAILABLE always means that it is safe to call again.** Clients retry it automatically, so a call that may have
//! mailed a code or changed a password never gets it.
//!
//! | what happened | code | reason |
//! | --- | --- | --- |
//! | a field is empty, too long, or the confirmation differs | INVALID_ARGUMENT | `INVALID_REQUEST` |
//! | the message is too long; cannot be decoded; no such method | RESOURCE_EXHAUSTED; INTERNAL; UNIMPLEMENTED | `INVALID_REQUEST` |
//! | `ErrorIncorrectAnswer`, the caller gave no answer | FAILED_PRECONDITION | `SECRET_QUESTION_ANSWER_REQUIRED` |
//! | `ErrorIncorrectAnswer`, the caller gave an answer | INVALID_ARGUMENT | `SECRET_QUESTION_ANSWER_INCORRECT` |
//! | any other entry in `Errors` | FAILED_PRECONDITION, or by `StatusCode` | `UPSTREAM_REFUSED` |
//! | `IsSucceed: false`, no `Errors` (steps 2–4) | UNKNOWN | `UPSTREAM_UNEXPLAINED` |
//! | 400 | INVALID_ARGUMENT | `UPSTREAM_REFUSED` |
//! | 422, `ModelState` | INVALID_ARGUMENT | `VALIDATION_FAILED` |
//! | 401, 403: the API rejects the caller's application key | UNAUTHENTICATED | `APP_KEY_REJECTED` |
//! | the same for the gateway's own key | INTERNAL | `APP_KEY_REJECTED` |
//! | no key is configured and the caller sent none | UNAUTHENTICATED | `APP_KEY_MISSING` |
//! | another 403 | PERMISSION_DENIED | `UPSTREAM_REFUSED` |
//! | 404 on an entity | NOT_FOUND | `UPSTREAM_NOT_FOUND` |
//! | 404 on the route, 405, `UnsupportedApiVersion`, 501 | UNIMPLEMENTED | `UPSTREAM_ENDPOINT_MISSING` |
//! | 409 | ABORTED | `UPSTREAM_CONFLICT` |
//! | 429 | RESOURCE_EXHAUSTED | `UPSTREAM_RATE_LIMITED` |
//! | any other 4xx | FAILED_PRECONDITION | `UPSTREAM_REFUSED` |
//! | 503 | UNAVAILABLE | `UPSTREAM_UNAVAILABLE` |
//! | 500 and any other 5xx | INTERNAL | `UPSTREAM_FAILED` |
//! | 502, or the connection broke after sending: a read | UNAVAILABLE | `UPSTREAM_UNAVAILABLE` |
//! | the same: a write | UNKNOWN | `UPSTREAM_OUTCOME_UNKNOWN` |
//! | 408, 504, or the deadline passed while waiting | DEADLINE_EXCEEDED | `UPSTREAM_TIMEOUT` |
//! | could not connect (refused, DNS, TLS), or the circuit breaker is open | UNAVAILABLE | `UPSTREAM_UNREACHABLE` |
//! | 2xx that is not the documented JSON | INTERNAL | `UPSTREAM_MALFORMED` |
//! | a response over the size limit | INTERNAL | `UPSTREAM_RESPONSE_TOO_LARGE` |
//! | a redirect | INTERNAL | `UPSTREAM_REDIRECTED` |
//! | the API refused too many codes or answers | RESOURCE_EXHAUSTED | `TOO_MANY_ATTEMPTS` |
//! | the gateway sheds load | RESOURCE_EXHAUSTED | `GATEWAY_OVERLOADED` |
//! | the gateway is shutting down, nothing was sent | UNAVAILABLE | `GATEWAY_SHUTTING_DOWN` |
//! | a bug in the gateway (a panic) | INTERNAL | `GATEWAY_FAILED` |

mod code;
mod details;

use tonic::Code;

pub(crate) use self::code::{code_name, is_server_error};
use crate::{app_key::KeyOwner, envelope::ApiErrorKind, error::Error, proto::ErrorReason};

/// The domain of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "passwordreset.autoshares.dev";

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Caller,
    Gateway,
    Upstream,
}

/// What the call did at the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing: the API never saw it.
    NotSent,
    /// Nothing: the API refused it, or it was a read.
    Refused,
    /// The API may have acted.
    Unknown,
}

/// A failed call, classified: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classification {
    pub(crate) code: Code,
    pub(crate) reason: ErrorReason,
    pub(crate) fault: Fault,
    pub(crate) outcome: Outcome,
}

impl Fault {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// The outcome of a call that was abandoned before a response arrived.
    pub(crate) const fn if_sent(sent: bool) -> Self {
        if sent { Self::Unknown } else { Self::NotSent }
    }
}

impl Classification {
    const fn new(code: Code, reason: ErrorReason, fault: Fault, outcome: Outcome) -> Self {
        Self {
            code,
            reason,
            fault,
            outcome,
        }
    }

    /// The row for an error, given whether the call was a read and whose application key it used.
    pub(crate) fn of(error: &Error, is_read_only: bool, key: KeyOwner) -> Self {
        use {ErrorReason as R, Fault as F, Outcome as O};
        let not_sent = |code, reason, fault| Self::new(code, reason, fault, O::NotSent);
        match *error {
            Error::Invalid(_) => not_sent(Code::InvalidArgument, R::InvalidRequest, F::Caller),
            // The specification's code for a message over the limit; tonic reports OUT_OF_RANGE.
            Error::Undecodable(Code::OutOfRange) => {
                not_sent(Code::ResourceExhausted, R::InvalidRequest, F::Caller)
            }
            Error::Undecodable(code) => not_sent(code, R::InvalidRequest, F::Caller),
            Error::KeyMissing => not_sent(Code::Unauthenticated, R::AppKeyMissing, F::Caller),
            Error::TooManyAttempts { .. } => {
                not_sent(Code::ResourceExhausted, R::TooManyAttempts, F::Caller)
            }
            Error::Refused(ref error) => Self::of_api_error(error.kind, is_read_only, key),
            Error::TooLarge { .. } => Self::failed(Code::Internal, R::UpstreamResponseTooLarge),
            Error::Unreachable(_) | Error::CircuitOpen { .. } => {
                not_sent(Code::Unavailable, R::UpstreamUnreachable, F::Upstream)
            }
            Error::ConnectionLost(_) => Self::no_response(is_read_only),
            Error::TimedOut { sent } => Self {
                outcome: O::if_sent(sent),
                ..Self::failed(Code::DeadlineExceeded, R::UpstreamTimeout)
            },
            Error::Overloaded => {
                not_sent(Code::ResourceExhausted, R::GatewayOverloaded, F::Gateway)
            }
            Error::ShuttingDown { sent: false } => {
                not_sent(Code::Unavailable, R::GatewayShuttingDown, F::Gateway)
            }
            Error::ShuttingDown { sent: true } => Self {
                fault: F::Gateway,
                ..Self::no_response(is_read_only)
            },
            Error::Panicked { sent } => Self::new(
                Code::Internal,
                R::GatewayFailed,
                F::Gateway,
                O::if_sent(sent),
            ),
        }
    }

    /// The row for a response that is not a success.
    fn of_api_error(kind: ApiErrorKind, is_read_only: bool, key: KeyOwner) -> Self {
        use {ApiErrorKind as Kind, ErrorReason as R};
        let refused = |code, reason| Self::new(code, reason, Fault::Caller, Outcome::Refused);
        let unserved = |code, reason| Self::new(code, reason, Fault::Upstream, Outcome::Refused);
        match kind {
            Kind::AnswerRequired => {
                refused(Code::FailedPrecondition, R::SecretQuestionAnswerRequired)
            }
            Kind::IncorrectAnswer => {
                refused(Code::InvalidArgument, R::SecretQuestionAnswerIncorrect)
            }
            Kind::Declined(status) => Self::declined(status),
            Kind::Unexplained => Self::failed(Code::Unknown, R::UpstreamUnexplained),
            Kind::BadRequest => refused(Code::InvalidArgument, R::UpstreamRefused),
            Kind::Validation => refused(Code::InvalidArgument, R::ValidationFailed),
            Kind::KeyRejected if key == KeyOwner::Gateway => Self {
                fault: Fault::Gateway,
                ..refused(Code::Internal, R::AppKeyRejected)
            },
            Kind::KeyRejected => refused(Code::Unauthenticated, R::AppKeyRejected),
            Kind::Forbidden => refused(Code::PermissionDenied, R::UpstreamRefused),
            Kind::NotFound => refused(Code::NotFound, R::UpstreamNotFound),
            Kind::EndpointMissing => unserved(Code::Unimplemented, R::UpstreamEndpointMissing),
            Kind::Conflict => refused(Code::Aborted, R::UpstreamConflict),
            Kind::RateLimited => unserved(Code::ResourceExhausted, R::UpstreamRateLimited),
            Kind::Unavailable => unserved(Code::Unavailable, R::UpstreamUnavailable),
            Kind::BadGateway => Self::no_response(is_read_only),
            Kind::Timeout => Self::failed(Code::DeadlineExceeded, R::UpstreamTimeout),
            Kind::Failed => Self::failed(Code::Internal, R::UpstreamFailed),
            Kind::Redirected => Self::failed(Code::Internal, R::UpstreamRedirected),
            Kind::Malformed => Self::failed(Code::Internal, R::UpstreamMalformed),
        }
    }

    /// The API failed, and may have acted before.
    const fn failed(code: Code, reason: ErrorReason) -> Self {
        Self::new(code, reason, Fault::Upstream, Outcome::Unknown)
    }

    /// The call was sent, and no response came from the API.
    const fn no_response(is_read_only: bool) -> Self {
        if is_read_only {
            Self::new(
                Code::Unavailable,
                ErrorReason::UpstreamUnavailable,
                Fault::Upstream,
                Outcome::Refused,
            )
        } else {
            Self::failed(Code::Unknown, ErrorReason::UpstreamOutcomeUnknown)
        }
    }

    /// The row for an entry in `Errors`, by the HTTP status that `StatusCode` names.
    const fn declined(status: Option<u16>) -> Self {
        use {Fault as F, Outcome as O};
        let (code, fault, outcome) = match status {
            Some(400 | 413 | 422) => (Code::InvalidArgument, F::Caller, O::Refused),
            // Not UNAUTHENTICATED: the API reports a rejected key without a result envelope.
            Some(401 | 403) => (Code::PermissionDenied, F::Caller, O::Refused),
            Some(404 | 410) => (Code::NotFound, F::Caller, O::Refused),
            Some(405 | 501) => (Code::Unimplemented, F::Upstream, O::Refused),
            Some(408 | 504) => (Code::DeadlineExceeded, F::Upstream, O::Unknown),
            Some(409) => (Code::Aborted, F::Caller, O::Refused),
            Some(429) => (Code::ResourceExhausted, F::Upstream, O::Refused),
            // This includes "ServiceUnavailable": the API itself responded, so it may have begun to act.
            Some(500..) => (Code::Internal, F::Upstream, O::Unknown),
            _ => (Code::FailedPrecondition, F::Caller, O::Refused),
        };
        Self::new(code, ErrorReason::UpstreamRefused, fault, outcome)
    }
}
