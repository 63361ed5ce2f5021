//! Builds the message and the details of a status.

use std::{collections::HashMap, time::Duration};

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::{Classification, DOMAIN};
use crate::{
    envelope::{ApiError, ApiErrorKind},
    error::Error,
    proto::ErrorReason,
};

/// The longest wait that a status suggests, whatever the API's `Retry-After` says.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);
/// How long to stay away from an overloaded gateway. Most calls in flight end within that time.
const OVERLOAD_RETRY_DELAY: Duration = Duration::from_secs(1);

impl Classification {
    /// The status of the error, details included.
    pub(crate) fn status(self, error: &Error) -> Status {
        Status::with_error_details(self.code, message(self.reason), self.details(error))
    }

    fn details(self, error: &Error) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        let mut metadata = HashMap::from([
            ("fault".to_owned(), self.fault.as_str().to_owned()),
            ("outcome".to_owned(), self.outcome.as_str().to_owned()),
        ]);
        match error {
            Error::Refused(error) => add_api_error(error, &mut metadata, &mut details),
            Error::TooLarge { http_status } => {
                metadata.insert("httpStatus".to_owned(), http_status.to_string());
            }
            Error::Invalid(violations) => {
                for violation in violations {
                    details.add_bad_request_violation(violation.field, violation.rule);
                }
            }
            Error::Overloaded => {
                details.set_retry_info(Some(OVERLOAD_RETRY_DELAY));
            }
            Error::TooManyAttempts { retry_after } => {
                details.set_retry_info(Some(whole_seconds(*retry_after)));
            }
            Error::CircuitOpen { pause } => {
                details.set_retry_info(Some((*pause).min(MAX_RETRY_DELAY)));
            }
            Error::Undecodable(_)
            | Error::KeyMissing
            | Error::Unreachable(_)
            | Error::ConnectionLost(_)
            | Error::TimedOut { .. }
            | Error::ShuttingDown { .. }
            | Error::Panicked { .. } => {}
        }
        details.set_error_info(self.reason.as_str_name(), DOMAIN, metadata);
        details
    }
}

/// Rounds up, so that a caller who waits that long is not too early.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// Adds what the API's response says.
fn add_api_error(
    error: &ApiError,
    metadata: &mut HashMap<String, String>,
    details: &mut ErrorDetails,
) {
    const ANSWER: &str = "secret_question_answer";
    metadata.insert("httpStatus".to_owned(), error.http_status.to_string());
    if !error.codes.is_empty() {
        metadata.insert("upstreamCodes".to_owned(), error.codes.join(","));
    }
    if !error.text.is_empty() {
        // The API does not name the language. Its documentation is in English.
        details.set_localized_message("en", &error.text);
    }
    match error.kind {
        ApiErrorKind::AnswerRequired => {
            let rule = "call GetSecretQuestion, ask the trader, and call again with the answer";
            details.add_precondition_failure_violation("SECRET_QUESTION_ANSWER", ANSWER, rule);
        }
        ApiErrorKind::IncorrectAnswer => {
            details.add_bad_request_violation(
                ANSWER,
                "must be the answer to the trader's secret question",
            );
        }
        ApiErrorKind::RateLimited | ApiErrorKind::Unavailable => {
            // Without a delay there must be no RetryInfo at all.
            if let Some(delay) = error.retry_after {
                details.set_retry_info(Some(delay.min(MAX_RETRY_DELAY)));
            }
        }
        _ => {}
    }
    for field in &error.fields {
        details.add_bad_request_violation(&field.name, &field.text);
    }
}

/// The fixed sentence for a reason.
fn message(reason: ErrorReason) -> &'static str {
    match reason {
        ErrorReason::Unspecified => "The call failed.",
        ErrorReason::InvalidRequest => "The request is invalid; nothing was sent.",
        ErrorReason::SecretQuestionAnswerRequired => {
            "The secret question has to be answered first."
        }
        ErrorReason::SecretQuestionAnswerIncorrect => {
            "The answer to the secret question is incorrect."
        }
        ErrorReason::UpstreamRefused => "The API refused the call.",
        ErrorReason::UpstreamUnexplained => "The API reported a failure and gave no reason.",
        ErrorReason::ValidationFailed => "The API found a field invalid.",
        ErrorReason::AppKeyRejected => "The API rejected the application key.",
        ErrorReason::AppKeyMissing => {
            "There is no application key: send one as et-app-key metadata."
        }
        ErrorReason::UpstreamNotFound => "The API does not know the user or the resource.",
        ErrorReason::UpstreamEndpointMissing => {
            "The API does not serve this step at this place or in this version."
        }
        ErrorReason::UpstreamConflict => "Another change got in the way; start the reset again.",
        ErrorReason::UpstreamRateLimited => "The API asks for fewer calls.",
        ErrorReason::UpstreamUnavailable => {
            "The API is not available; the call did nothing and may be repeated."
        }
        ErrorReason::UpstreamFailed => "The API failed; the call may have been carried out.",
        ErrorReason::UpstreamOutcomeUnknown => {
            "No answer came back; the call may have been carried out."
        }
        ErrorReason::UpstreamTimeout => "The API did not answer within the deadline.",
        ErrorReason::UpstreamUnreachable => {
            "The API cannot be reached; nothing was sent and the call may be repeated."
        }
        ErrorReason::UpstreamMalformed => "The API's answer is not what it documents.",
        ErrorReason::UpstreamResponseTooLarge => "The API's answer is too long.",
        ErrorReason::UpstreamRedirected => "The API sent a redirect, which is never followed.",
        ErrorReason::GatewayOverloaded => {
            "The gateway has too many calls in flight; nothing was sent."
        }
        ErrorReason::TooManyAttempts => "Too many attempts; nothing was sent.",
        ErrorReason::GatewayShuttingDown => {
            "The gateway is going down; nothing was sent and the call may be repeated."
        }
        ErrorReason::GatewayFailed => "The gateway failed.",
    }
}
