//! Everything that can go wrong with a call, by who has to act. [`crate::status`] turns it into a gRPC status.

use std::time::Duration;

use crate::envelope::ApiError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request breaks the contract.
    #[error("the request is invalid")]
    Invalid(Vec<Violation>),
    /// The request could not be read, or there is no such rpc: tonic's own answer, by its code.
    #[error("the request cannot be read")]
    Undecodable(tonic::Code),
    /// Neither the gateway nor the caller has an application key.
    #[error("there is no application key")]
    KeyMissing,
    /// The API has refused so many attempts to guess that there may be no other for a while.
    #[error("too many attempts")]
    TooManyAttempts {
        /// When there may be one.
        retry_after: Duration,
    },

    /// The API answered, and not with success.
    #[error("the API answered HTTP {}", .0.http_status)]
    Refused(ApiError),
    /// The API's answer is longer than [`crate::upstream::MAX_RESPONSE`].
    #[error("the API's answer is too long")]
    TooLarge {
        /// The HTTP status of the answer.
        http_status: u16,
    },
    /// No connection could be made, so nothing was sent.
    #[error("no connection to the API")]
    Unreachable(#[source] reqwest::Error),
    /// No connection could be made for a while, so none was tried.
    #[error("no connection to the API for a while, and none tried")]
    CircuitOpen {
        /// How long none will be tried.
        pause: Duration,
    },
    /// The connection broke before the whole answer was there.
    #[error("the connection to the API broke")]
    ConnectionLost(#[source] reqwest::Error),
    /// The deadline passed.
    #[error("no answer within the deadline")]
    TimedOut {
        /// Whether the API may have seen the call.
        sent: bool,
    },

    /// As many calls are in flight as there may be.
    #[error("too many calls in flight")]
    Overloaded,
    /// The gateway stops and cannot wait any longer for the call.
    #[error("the gateway is going down")]
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

/// What is wrong with a field of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The field's name in the contract.
    pub(crate) field: &'static str,
    /// What would be right.
    pub(crate) rule: &'static str,
}
