//! Turns an error into a gRPC status: a code, a reason, and the details that clients can act on.
//!
//! **UNAVAILABLE from the gateway means that it is safe to call again.** Clients with a retry policy retry it automatically,
//! so a call that may have mailed a code or changed a password never gets it.
//!
//! `docs/errors.md` shows the whole table; a test below compares it with this code.

mod code;
mod details;

use tonic::Code;

pub(crate) use self::code::{code_name, is_server_error};
use self::{
    Fault::{Caller, Gateway, Upstream},
    Outcome::{NotSent, Refused, Unknown},
};
use crate::{envelope::ApiErrorKind, error::Error, proto::ErrorReason};

/// The domain of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "passwordreset.autoshares.dev";

/// The party that has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Caller,
    Gateway,
    Upstream,
}

/// The effect of the call at the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing: the API never saw the call.
    NotSent,
    /// Nothing, although it was sent: the API refused it; or it was a read, which changes nothing, and its response did not
    /// come because the connection broke or the gateway shut down.
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

    /// The outcome of a call that was cancelled before a response arrived.
    pub(crate) const fn if_sent(sent: bool) -> Self {
        if sent { Self::Unknown } else { Self::NotSent }
    }
}

/// The code, the reason, who has to act, and what the call did.
type Row = (Code, ErrorReason, Fault, Outcome);

impl Classification {
    /// The row for an error, given whether the call was a read.
    pub(crate) fn of(error: &Error, is_read_only: bool) -> Self {
        let (code, reason, fault, outcome) = row(error, is_read_only);
        Self {
            code,
            reason,
            fault,
            outcome,
        }
    }
}

fn row(error: &Error, is_read_only: bool) -> Row {
    use {Code as C, ErrorReason as R};
    let invalid = |code| (code, R::InvalidRequest, Caller, NotSent);
    let not_sent = |code, reason, fault| (code, reason, fault, NotSent);
    let if_sent = |sent, code, reason, fault| (code, reason, fault, Outcome::if_sent(sent));
    match *error {
        Error::Invalid(_) => invalid(C::InvalidArgument),
        Error::TooMuchMetadata => invalid(C::ResourceExhausted),
        Error::NotAllowed | Error::NoLongerTrusted => {
            not_sent(C::PermissionDenied, R::CallerNotAllowed, Caller)
        }
        Error::UnknownMethod => invalid(C::Unimplemented),
        // The specification's code for a message over the limit; tonic reports OUT_OF_RANGE.
        Error::Undecodable(C::OutOfRange) => invalid(C::ResourceExhausted),
        Error::Undecodable(code) => invalid(code),
        Error::KeyMissing => not_sent(C::Unauthenticated, R::AppKeyMissing, Caller),
        Error::TooManyAttempts { .. } => not_sent(C::ResourceExhausted, R::TooManyAttempts, Caller),
        Error::TooManyResets { .. } => not_sent(C::ResourceExhausted, R::TooManyResets, Caller),
        Error::Api(ref error) => api_error_row(error.kind, is_read_only),
        Error::TooLarge { .. } => (C::Internal, R::UpstreamResponseTooLarge, Upstream, Unknown),
        Error::Unreachable(_) | Error::CircuitOpen { .. } => {
            not_sent(C::Unavailable, R::UpstreamUnreachable, Upstream)
        }
        Error::ConnectionLost(_) => no_response_row(is_read_only, Upstream),
        Error::TimedOut { sent } => {
            if_sent(sent, C::DeadlineExceeded, R::UpstreamTimeout, Upstream)
        }
        Error::Overloaded => not_sent(C::ResourceExhausted, R::GatewayOverloaded, Gateway),
        Error::ShuttingDown { sent: true } => no_response_row(is_read_only, Gateway),
        Error::ShuttingDown { sent: false } => {
            not_sent(C::Unavailable, R::GatewayShuttingDown, Gateway)
        }
        Error::Panicked { sent } => if_sent(sent, C::Internal, R::GatewayFailed, Gateway),
    }
}

/// The row for a response that is not a success.
fn api_error_row(kind: ApiErrorKind, is_read_only: bool) -> Row {
    use {ApiErrorKind as K, Code as C, ErrorReason as R};
    let refused = |code, reason| (code, reason, Caller, Refused);
    let unserved = |code, reason| (code, reason, Upstream, Refused);
    // The API may have acted before it failed.
    let failed = |code, reason| (code, reason, Upstream, Unknown);
    match kind {
        K::AnswerRequired => refused(C::FailedPrecondition, R::SecretQuestionAnswerRequired),
        K::IncorrectAnswer => refused(C::InvalidArgument, R::SecretQuestionAnswerIncorrect),
        K::Declined(status) => declined_row(status),
        K::Unexplained => failed(C::Unknown, R::UpstreamUnexplained),
        K::BadRequest => refused(C::InvalidArgument, R::UpstreamRefused),
        K::Validation => refused(C::InvalidArgument, R::ValidationFailed),
        K::KeyRejected => (C::Internal, R::AppKeyRejected, Gateway, Refused),
        K::CallersKeyRejected => refused(C::Unauthenticated, R::AppKeyRejected),
        K::Forbidden => refused(C::PermissionDenied, R::UpstreamRefused),
        K::NotFound => refused(C::NotFound, R::UpstreamNotFound),
        K::EndpointMissing => unserved(C::Unimplemented, R::UpstreamEndpointMissing),
        K::Conflict => refused(C::Aborted, R::UpstreamConflict),
        K::RateLimited => unserved(C::ResourceExhausted, R::UpstreamRateLimited),
        // A proxy responds with 503 too when the connection to the API breaks after the request was sent.
        K::Unavailable | K::BadGateway => no_response_row(is_read_only, Upstream),
        K::Timeout => failed(C::DeadlineExceeded, R::UpstreamTimeout),
        K::Failed => failed(C::Internal, R::UpstreamFailed),
        K::Redirected => failed(C::Internal, R::UpstreamRedirected),
        K::Malformed => failed(C::Internal, R::UpstreamMalformed),
    }
}

/// The row for a call that was sent, and for which no response came from the API.
const fn no_response_row(is_read_only: bool, fault: Fault) -> Row {
    use {Code as C, ErrorReason as R};
    if is_read_only {
        (C::Unavailable, R::UpstreamUnavailable, fault, Refused)
    } else {
        (C::Unknown, R::UpstreamOutcomeUnknown, fault, Unknown)
    }
}

/// The row for an entry in `Errors`, by what `StatusCode` says.
const fn declined_row(status: Option<u16>) -> Row {
    let (code, fault, outcome) = match status {
        Some(400) => (Code::InvalidArgument, Caller, Refused),
        // Not UNAUTHENTICATED: the API reports a rejected key without a result envelope.
        Some(403) => (Code::PermissionDenied, Caller, Refused),
        Some(404) => (Code::NotFound, Caller, Refused),
        Some(405) => (Code::Unimplemented, Upstream, Refused),
        Some(408) => (Code::DeadlineExceeded, Upstream, Unknown),
        Some(409) => (Code::Aborted, Caller, Refused),
        Some(429) => (Code::ResourceExhausted, Upstream, Refused),
        // This includes "ServiceUnavailable": the API itself responded, so it may have begun to act.
        Some(500) => (Code::Internal, Upstream, Unknown),
        _ => (Code::FailedPrecondition, Caller, Refused),
    };
    (code, ErrorReason::UpstreamRefused, fault, outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The code, the reason, the fault and the outcome, by name.
    type Named = [String; 4];

    const PAGE: &str = include_str!("../docs/errors.md");

    fn transport_error() -> reqwest::Error {
        reqwest::Identity::from_pem(b"").unwrap_err()
    }

    fn api_errors() -> impl Iterator<Item = ApiErrorKind> {
        use ApiErrorKind as K;
        let statuses = [400, 403, 404, 405, 408, 409, 429, 500].map(Some);
        let declined = statuses.into_iter().chain([None]).map(K::Declined);
        declined.chain([
            K::AnswerRequired,
            K::IncorrectAnswer,
            K::Unexplained,
            K::BadRequest,
            K::Validation,
            K::KeyRejected,
            K::CallersKeyRejected,
            K::Forbidden,
            K::NotFound,
            K::EndpointMissing,
            K::Conflict,
            K::RateLimited,
            K::Unavailable,
            K::BadGateway,
            K::Timeout,
            K::Failed,
            K::Redirected,
            K::Malformed,
        ])
    }

    fn other_errors() -> impl Iterator<Item = Error> {
        let retry_after = std::time::Duration::ZERO;
        let depends = [true, false].into_iter().flat_map(|sent| {
            let panicked = Error::Panicked { sent };
            [
                Error::TimedOut { sent },
                Error::ShuttingDown { sent },
                panicked,
            ]
        });
        depends.chain([
            Error::Invalid(Vec::new()),
            Error::TooMuchMetadata,
            Error::UnknownMethod,
            Error::Undecodable(Code::OutOfRange),
            Error::Undecodable(Code::Internal),
            Error::Undecodable(Code::Unimplemented),
            Error::KeyMissing,
            Error::NotAllowed,
            Error::NoLongerTrusted,
            Error::TooManyAttempts { retry_after },
            Error::TooManyResets { retry_after },
            Error::TooLarge { http_status: 200 },
            Error::Unreachable(transport_error()),
            Error::CircuitOpen { pause: retry_after },
            Error::ConnectionLost(transport_error()),
            Error::Overloaded,
        ])
    }

    /// Every row that the code has.
    fn in_code() -> BTreeSet<Named> {
        let named = |(code, reason, fault, outcome): Row| {
            let names = [code_name(code), reason.as_str_name(), fault.as_str()];
            let [code, reason, fault] = names.map(str::to_owned);
            [code, reason, fault, outcome.as_str().to_owned()]
        };
        let of_both = |is_read_only| {
            let api = api_errors().map(move |kind| api_error_row(kind, is_read_only));
            let other = other_errors().map(move |error| row(&error, is_read_only));
            api.chain(other)
        };
        let rows = of_both(true).chain(of_both(false));
        rows.map(named).collect()
    }

    /// Every row of the page; one with several codes or outcomes counts once for each.
    fn in_page() -> BTreeSet<Named> {
        let (_, table) = PAGE.split_once("\n## All statuses\n").unwrap();
        let table = table.split("\n## ").next().unwrap();
        let mut found = BTreeSet::new();
        for row in table.lines().filter(|line| line.starts_with("| ")).skip(2) {
            let cells: Vec<_> = row.split(" | ").map(str::trim).collect();
            let [_, codes, reason, fault, outcomes, ..] = cells[..] else {
                panic!("{row}");
            };
            for code in codes.split("; ") {
                for outcome in outcomes.split(" or ") {
                    let reason = reason.trim_matches('`');
                    found.insert([code, reason, fault, outcome].map(str::to_owned));
                }
            }
        }
        found
    }

    #[test]
    fn the_error_page_has_the_rows_of_the_code_and_no_other() {
        assert_eq!(in_page(), in_code());
    }
}
