//! Error → gRPC status: the one table, and the details that clients can act on.
//!
//! **UNAVAILABLE always means: safe to call again.** Clients retry it by themselves, so a call that may have mailed a code
//! or changed a password never gets it.
//!
//! | what happened | code | reason |
//! | --- | --- | --- |
//! | a field is empty, too long, or the confirmation differs | INVALID_ARGUMENT | `INVALID_REQUEST` |
//! | the message is over the limit; cannot be read; no such method | RESOURCE_EXHAUSTED; INTERNAL; UNIMPLEMENTED | `INVALID_REQUEST` |
//! | `ErrorIncorrectAnswer`, no answer was given | FAILED_PRECONDITION | `SECRET_QUESTION_ANSWER_REQUIRED` |
//! | `ErrorIncorrectAnswer`, an answer was given | INVALID_ARGUMENT | `SECRET_QUESTION_ANSWER_INCORRECT` |
//! | any other entry in `Errors` | FAILED_PRECONDITION, or by `StatusCode` | `UPSTREAM_REFUSED` |
//! | `IsSucceed: false`, no `Errors` (steps 2–4) | UNKNOWN | `UPSTREAM_UNEXPLAINED` |
//! | 400 | INVALID_ARGUMENT | `UPSTREAM_REFUSED` |
//! | 422, `ModelState` | INVALID_ARGUMENT | `VALIDATION_FAILED` |
//! | 401, 403: the caller's application key is rejected | UNAUTHENTICATED | `APP_KEY_REJECTED` |
//! | the same: the gateway's own key | INTERNAL | `APP_KEY_REJECTED` |
//! | no key configured and none sent by the caller | UNAUTHENTICATED | `APP_KEY_MISSING` |
//! | another 403 | PERMISSION_DENIED | `UPSTREAM_REFUSED` |
//! | 404 on an entity | NOT_FOUND | `UPSTREAM_NOT_FOUND` |
//! | 404 on the route, 405, `UnsupportedApiVersion`, 501 | UNIMPLEMENTED | `UPSTREAM_ENDPOINT_MISSING` |
//! | 409 | ABORTED | `UPSTREAM_CONFLICT` |
//! | 429 | RESOURCE_EXHAUSTED | `UPSTREAM_RATE_LIMITED` |
//! | any other 4xx | FAILED_PRECONDITION | `UPSTREAM_REFUSED` |
//! | 503 | UNAVAILABLE | `UPSTREAM_UNAVAILABLE` |
//! | 500 and any other 5xx | INTERNAL | `UPSTREAM_FAILED` |
//! | 502, or the connection broke after the request was sent: a read | UNAVAILABLE | `UPSTREAM_UNAVAILABLE` |
//! | the same: a write | UNKNOWN | `UPSTREAM_OUTCOME_UNKNOWN` |
//! | 408, 504, or the deadline passed while waiting | DEADLINE_EXCEEDED | `UPSTREAM_TIMEOUT` |
//! | could not connect (refused, DNS, TLS), or not for a while | UNAVAILABLE | `UPSTREAM_UNREACHABLE` |
//! | 2xx that is not the documented JSON | INTERNAL | `UPSTREAM_MALFORMED` |
//! | an answer over the size limit | INTERNAL | `UPSTREAM_RESPONSE_TOO_LARGE` |
//! | a redirect | INTERNAL | `UPSTREAM_REDIRECTED` |
//! | too many codes or answers were refused | RESOURCE_EXHAUSTED | `TOO_MANY_ATTEMPTS` |
//! | the gateway sheds load | RESOURCE_EXHAUSTED | `GATEWAY_OVERLOADED` |
//! | the gateway is going down, nothing was sent | UNAVAILABLE | `GATEWAY_SHUTTING_DOWN` |
//! | a bug in the gateway (a panic) | INTERNAL | `GATEWAY_FAILED` |

mod details;

use tonic::Code;

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

/// What became of the call at the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The API never saw it.
    NotSent,
    /// The API did nothing: it said no, or left a call that only reads without an answer.
    Refused,
    /// The API may have acted.
    Unknown,
}

/// What a failed call is: a row of the table.
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

    /// Of a call that was given up.
    pub(crate) const fn if_sent(sent: bool) -> Self {
        if sent { Self::Unknown } else { Self::NotSent }
    }
}

impl Classification {
    /// The row of an error, for a call that only reads or one that writes, with that key.
    pub(crate) fn of(error: &Error, only_reads: bool, key: KeyOwner) -> Self {
        use {ErrorReason as R, Fault as F, Outcome as O};
        let row = |code, reason, fault, outcome| Self {
            code,
            reason,
            fault,
            outcome,
        };
        match *error {
            Error::Invalid(_) => row(
                Code::InvalidArgument,
                R::InvalidRequest,
                F::Caller,
                O::NotSent,
            ),
            // The standard's code for a message over the limit; tonic's own is OUT_OF_RANGE.
            Error::Undecodable(Code::OutOfRange) => row(
                Code::ResourceExhausted,
                R::InvalidRequest,
                F::Caller,
                O::NotSent,
            ),
            Error::Undecodable(code) => row(code, R::InvalidRequest, F::Caller, O::NotSent),
            Error::KeyMissing => row(
                Code::Unauthenticated,
                R::AppKeyMissing,
                F::Caller,
                O::NotSent,
            ),
            Error::TooManyAttempts { .. } => row(
                Code::ResourceExhausted,
                R::TooManyAttempts,
                F::Caller,
                O::NotSent,
            ),
            Error::Refused(ref refusal) => Self::of_cause(refusal.kind, only_reads, key),
            Error::TooLarge { .. } => row(
                Code::Internal,
                R::UpstreamResponseTooLarge,
                F::Upstream,
                O::Unknown,
            ),
            Error::Unreachable(_) | Error::CircuitOpen { .. } => row(
                Code::Unavailable,
                R::UpstreamUnreachable,
                F::Upstream,
                O::NotSent,
            ),
            Error::ConnectionLost(_) => Self::cut_off(only_reads),
            Error::TimedOut { sent } => row(
                Code::DeadlineExceeded,
                R::UpstreamTimeout,
                F::Upstream,
                O::if_sent(sent),
            ),
            Error::Overloaded => row(
                Code::ResourceExhausted,
                R::GatewayOverloaded,
                F::Gateway,
                O::NotSent,
            ),
            Error::ShuttingDown { sent: false } => row(
                Code::Unavailable,
                R::GatewayShuttingDown,
                F::Gateway,
                O::NotSent,
            ),
            Error::ShuttingDown { sent: true } => Self {
                fault: F::Gateway,
                ..Self::cut_off(only_reads)
            },
            Error::Panicked { sent } => row(
                Code::Internal,
                R::GatewayFailed,
                F::Gateway,
                O::if_sent(sent),
            ),
        }
    }

    /// The row of an answer that is not a success.
    fn of_cause(kind: ApiErrorKind, only_reads: bool, key: KeyOwner) -> Self {
        use {ErrorReason as R, Fault as F, Outcome as O};
        let refused = |code, reason, fault| Self {
            code,
            reason,
            fault,
            outcome: O::Refused,
        };
        let failed = |code, reason| Self {
            code,
            reason,
            fault: F::Upstream,
            outcome: O::Unknown,
        };
        match kind {
            ApiErrorKind::AnswerRequired => refused(
                Code::FailedPrecondition,
                R::SecretQuestionAnswerRequired,
                F::Caller,
            ),
            ApiErrorKind::IncorrectAnswer => refused(
                Code::InvalidArgument,
                R::SecretQuestionAnswerIncorrect,
                F::Caller,
            ),
            ApiErrorKind::Declined(status) => Self::declined(status),
            ApiErrorKind::Unexplained => failed(Code::Unknown, R::UpstreamUnexplained),
            ApiErrorKind::BadRequest => {
                refused(Code::InvalidArgument, R::UpstreamRefused, F::Caller)
            }
            ApiErrorKind::Validation => {
                refused(Code::InvalidArgument, R::ValidationFailed, F::Caller)
            }
            ApiErrorKind::KeyRejected => match key {
                KeyOwner::Caller => refused(Code::Unauthenticated, R::AppKeyRejected, F::Caller),
                KeyOwner::Gateway => refused(Code::Internal, R::AppKeyRejected, F::Gateway),
            },
            ApiErrorKind::Forbidden => {
                refused(Code::PermissionDenied, R::UpstreamRefused, F::Caller)
            }
            ApiErrorKind::NotFound => refused(Code::NotFound, R::UpstreamNotFound, F::Caller),
            ApiErrorKind::EndpointMissing => {
                refused(Code::Unimplemented, R::UpstreamEndpointMissing, F::Upstream)
            }
            ApiErrorKind::Conflict => refused(Code::Aborted, R::UpstreamConflict, F::Caller),
            ApiErrorKind::RateLimited => {
                refused(Code::ResourceExhausted, R::UpstreamRateLimited, F::Upstream)
            }
            ApiErrorKind::Unavailable => {
                refused(Code::Unavailable, R::UpstreamUnavailable, F::Upstream)
            }
            ApiErrorKind::BadGateway => Self::cut_off(only_reads),
            ApiErrorKind::Timeout => failed(Code::DeadlineExceeded, R::UpstreamTimeout),
            ApiErrorKind::Failed => failed(Code::Internal, R::UpstreamFailed),
            ApiErrorKind::Redirected => failed(Code::Internal, R::UpstreamRedirected),
            ApiErrorKind::Malformed => failed(Code::Internal, R::UpstreamMalformed),
        }
    }

    /// The row of a call that was sent and got no answer.
    fn cut_off(only_reads: bool) -> Self {
        let (code, reason, outcome) = if only_reads {
            (
                Code::Unavailable,
                ErrorReason::UpstreamUnavailable,
                Outcome::Refused,
            )
        } else {
            (
                Code::Unknown,
                ErrorReason::UpstreamOutcomeUnknown,
                Outcome::Unknown,
            )
        };
        Self {
            code,
            reason,
            fault: Fault::Upstream,
            outcome,
        }
    }

    /// The row of an entry in `Errors`, by what `StatusCode` says.
    fn declined(status: Option<u16>) -> Self {
        use {Fault as F, Outcome as O};
        let (code, fault, outcome) = match status {
            Some(400 | 413 | 422) => (Code::InvalidArgument, F::Caller, O::Refused),
            // Not UNAUTHENTICATED: a key that is not accepted gets no result envelope.
            Some(401 | 403) => (Code::PermissionDenied, F::Caller, O::Refused),
            Some(404 | 410) => (Code::NotFound, F::Caller, O::Refused),
            Some(405 | 501) => (Code::Unimplemented, F::Upstream, O::Refused),
            Some(408 | 504) => (Code::DeadlineExceeded, F::Upstream, O::Unknown),
            Some(409) => (Code::Aborted, F::Caller, O::Refused),
            Some(429) => (Code::ResourceExhausted, F::Upstream, O::Refused),
            // Also for "ServiceUnavailable": it was the API itself that answered, so the call was under way.
            Some(500..) => (Code::Internal, F::Upstream, O::Unknown),
            _ => (Code::FailedPrecondition, F::Caller, O::Refused),
        };
        Self {
            code,
            reason: ErrorReason::UpstreamRefused,
            fault,
            outcome,
        }
    }
}

/// The name of a code as the gRPC specification writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The codes that the conventions call a server's error; the others are the caller's business.
pub(crate) fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
