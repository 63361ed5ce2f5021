//! Builds the message and the details of a status.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Classification, DOMAIN, Outcome};
use crate::{
    envelope::{ApiError, ApiErrorKind},
    error::Error,
    proto::ErrorReason,
};

/// The longest wait that a status suggests, whatever the API's `Retry-After` says.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);
/// How long to stay away from an overloaded gateway. Most calls in flight end within that time.
const OVERLOAD_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The trailer by which a server steers a client's automatic retries (gRFC A6): a delay in milliseconds, or
/// [`NO_RETRY`]. No client library's automatic retry reads `RetryInfo`.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const NO_RETRY: i64 = -1;

impl Classification {
    /// The status of the error, with its details and the trailer that says when an automatic retry may come.
    ///
    /// `time_left` is the time until the caller's deadline.
    pub(crate) fn status(self, error: &Error, is_read_only: bool, time_left: Duration) -> Status {
        let mut details = ErrorDetails::new();
        let mut metadata = HashMap::from([
            ("fault".to_owned(), self.fault.as_str().to_owned()),
            ("outcome".to_owned(), self.outcome.as_str().to_owned()),
        ]);
        let mut add_http_status =
            |status: u16| metadata.insert("httpStatus".to_owned(), status.to_string());
        match error {
            Error::TooLarge { http_status } => drop(add_http_status(*http_status)),
            Error::Api(error) => {
                add_http_status(error.http_status);
                if !error.codes.is_empty() {
                    metadata.insert("upstreamCodes".to_owned(), error.codes.join(","));
                }
                add_api_error(error, &mut details);
            }
            Error::Invalid(violations) => {
                for violation in violations {
                    details.add_bad_request_violation(violation.field, violation.rule);
                }
            }
            _ => {}
        }
        let is_unknown_write = self.outcome == Outcome::Unknown && !is_read_only;
        let delay = retry_delay(error).filter(|_| !is_unknown_write);
        // Without a delay there must be no RetryInfo at all.
        if delay.is_some() {
            details.set_retry_info(delay);
        }
        details.set_error_info(self.reason.as_str_name(), DOMAIN, metadata);
        let mut status =
            Status::with_error_details(self.code, message(error, self.reason), details);
        let pushback = match delay {
            _ if is_unknown_write => Some(NO_RETRY),
            Some(delay) if delay > time_left => Some(NO_RETRY),
            Some(delay) => Some(whole_milliseconds(delay)),
            None => None,
        };
        if let Some(pushback) = pushback {
            status.metadata_mut().insert(PUSHBACK, pushback.into());
        }
        status
    }
}

/// Adds what the API says, and what to do about the answer to the secret question.
fn add_api_error(error: &ApiError, details: &mut ErrorDetails) {
    const ANSWER: &str = "secret_question_answer";
    if !error.text.is_empty() {
        // The API does not name the language. Its documentation is in English.
        details.set_localized_message("en", &error.text);
    }
    if error.kind == ApiErrorKind::AnswerRequired {
        let rule = "call GetSecretQuestion, ask the trader, and call again with the answer";
        details.add_precondition_failure_violation("SECRET_QUESTION_ANSWER", ANSWER, rule);
    }
    if error.kind == ApiErrorKind::IncorrectAnswer {
        let rule = "must be the answer to the trader's secret question";
        details.add_bad_request_violation(ANSWER, rule);
    }
    for field in &error.fields {
        details.add_bad_request_violation(&field.name, &field.text);
    }
}

/// How long to wait before the next call, if that is known.
fn retry_delay(error: &Error) -> Option<Duration> {
    use ApiErrorKind::{RateLimited, Unavailable};
    match error {
        Error::Overloaded => Some(OVERLOAD_RETRY_DELAY),
        Error::TooManyAttempts { retry_after } | Error::TooManyResets { retry_after } => {
            Some(whole_seconds(*retry_after))
        }
        Error::CircuitOpen { pause } => Some(*pause),
        Error::Api(error) if matches!(error.kind, RateLimited | Unavailable) => {
            error.retry_after.map(|delay| delay.min(MAX_RETRY_DELAY))
        }
        _ => None,
    }
}

/// Rounds up, so that a caller who waits that long is not too early.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// Rounds up, for the same reason.
fn whole_milliseconds(time: Duration) -> i64 {
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// The fixed sentence for an error: one for each reason, and for `INVALID_REQUEST` one for each cause.
fn message(error: &Error, reason: ErrorReason) -> &'static str {
    match error {
        Error::TooMuchMetadata => "The call has more than 16 KiB of metadata; nothing was sent.",
        Error::UnknownMethod => "There is no such method; nothing was sent.",
        Error::Undecodable(Code::Unimplemented) => {
            "The compression of the message is not supported; nothing was sent."
        }
        Error::Undecodable(Code::OutOfRange | Code::ResourceExhausted) => {
            "The message is larger than 64 KiB; nothing was sent."
        }
        Error::Undecodable(_) => "The message cannot be read; nothing was sent.",
        _ => message_of_reason(reason),
    }
}

fn message_of_reason(reason: ErrorReason) -> &'static str {
    use ErrorReason as R;
    match reason {
        R::Unspecified => "The call failed.",
        R::InvalidRequest => "A field of the request is invalid; nothing was sent.",
        R::SecretQuestionAnswerRequired => "The secret question has to be answered first.",
        R::SecretQuestionAnswerIncorrect => "The answer to the secret question is incorrect.",
        R::UpstreamRefused => "The API refused the call.",
        R::UpstreamUnexplained => "The API reported a failure and gave no reason.",
        R::ValidationFailed => "The API found a field invalid.",
        R::AppKeyRejected => "The API rejected the application key.",
        R::AppKeyMissing => "There is no application key: send one as et-app-key metadata.",
        R::UpstreamNotFound => "The API does not know the user or the resource.",
        R::UpstreamEndpointMissing => {
            "The API does not serve this step at this URL or in this version."
        }
        R::UpstreamConflict => "Another change got in the way; start the reset again.",
        R::UpstreamRateLimited => "The API asks for fewer calls.",
        R::UpstreamUnavailable => {
            "The API is not available; the call did nothing and may be repeated."
        }
        R::UpstreamFailed => "The API failed; the call may have been carried out.",
        R::UpstreamOutcomeUnknown => "No answer came back; the call may have been carried out.",
        R::UpstreamTimeout => "The API did not answer within the deadline.",
        R::UpstreamUnreachable => {
            "The API cannot be reached; nothing was sent and the call may be repeated."
        }
        R::UpstreamMalformed => "The API's answer is not what it documents.",
        R::UpstreamResponseTooLarge => "The API's answer is too long.",
        R::UpstreamRedirected => "The API sent a redirect, which is never followed.",
        R::GatewayOverloaded => "The gateway is overloaded; nothing was sent.",
        R::TooManyAttempts => "Too many attempts; nothing was sent.",
        R::TooManyResets => "Too many resets; nothing was sent.",
        R::CallerNotAllowed => "This caller may not make this call; nothing was sent.",
        R::GatewayShuttingDown => {
            "The gateway is going down; nothing was sent and the call may be repeated."
        }
        R::GatewayFailed => "The gateway failed.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_so_that_nobody_comes_too_early() {
        let delay = Duration::from_micros(1_500_001);
        assert_eq!(whole_milliseconds(delay), 1501);
        assert_eq!(whole_milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(whole_seconds(delay), Duration::from_secs(2));
    }
}
