//! Every way in which a call can fail. [`crate::status`] turns each into a gRPC status.

use std::time::Duration;

use crate::envelope::{ApiError, ApiErrorKind};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field of the request breaks the contract.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The request has more metadata than a call may have.
    #[error("the request has too much metadata")]
    TooMuchMetadata,
    /// The policy does not allow it.
    #[error("the policy does not allow the call")]
    NotAllowed,
    /// The authority of the client's certificate was taken away, or the certificate has expired or was revoked.
    #[error("the client's certificate is no longer trusted")]
    NoLongerTrusted,
    /// There is no such method.
    #[error("the method is unknown")]
    UnknownMethod,
    /// tonic cannot decode the message; the code is tonic's.
    #[error("the request cannot be decoded")]
    Undecodable(tonic::Code),
    /// No application key is configured, and the caller sent none.
    #[error("there is no application key")]
    KeyMissing,
    /// So many guesses were wrong, or so many calls wait for the limit, that this one is not sent.
    #[error("too many attempts")]
    TooManyAttempts {
        /// How long to wait before the next attempt.
        retry_after: Duration,
    },
    /// So many codes were mailed to the user, or to all, or so many calls wait for the limit, that this one is not sent.
    #[error("too many resets")]
    TooManyResets {
        /// How long to wait before the next reset.
        retry_after: Duration,
    },

    /// The API responded with an error.
    #[error("the API answered HTTP {}", .0.http_status)]
    Api(ApiError),
    /// The response is longer than [`crate::upstream::MAX_RESPONSE`].
    #[error("the API's response is too long")]
    TooLarge {
        /// The HTTP status of the response.
        http_status: u16,
    },
    /// No connection could be made, so nothing was sent.
    #[error("cannot connect to the API")]
    Unreachable(#[source] reqwest::Error),
    /// The circuit breaker is open, so nothing was sent.
    #[error("cannot connect to the API; the circuit breaker is open")]
    CircuitOpen {
        /// How long the breaker stays open.
        pause: Duration,
    },
    /// The connection broke before the whole response arrived.
    #[error("the connection to the API broke")]
    ConnectionLost(#[source] reqwest::Error),
    /// The deadline passed.
    #[error("no response within the deadline")]
    TimedOut {
        /// Whether the API may have seen the call.
        sent: bool,
    },

    /// A limit is reached: on requests in flight, on messages being read, on ids of writes and calls that wait for the
    /// first with theirs, or on health and reflection streams.
    #[error("the gateway is overloaded")]
    Overloaded,
    /// The gateway is shutting down and cannot wait any longer for the call.
    #[error("the gateway is shutting down")]
    ShuttingDown {
        /// Whether the API may have seen the call.
        sent: bool,
    },
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked {
        /// Whether the API may have seen the call.
        sent: bool,
    },
}

impl Error {
    /// Marks a rejected key as the caller's, for calls that carry the caller's own application key.
    pub(crate) fn with_callers_key(mut self) -> Self {
        if let Self::Api(error) = &mut self
            && error.kind == ApiErrorKind::KeyRejected
        {
            error.kind = ApiErrorKind::CallersKeyRejected;
        }
        self
    }
}

/// A field of the request that breaks a rule of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field's name in the contract.
    pub(crate) field: &'static str,
    /// The rule, as the caller reads it: `must not be empty`.
    pub(crate) rule: &'static str,
}

/// The error and all its causes, in words.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
