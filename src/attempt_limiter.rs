//! Limits guessing. Step 3 takes six digits and no user name, so one guess tries all open codes at
//! once; step 1 takes answers to secret questions.
//!
//! An attempt costs a token unless it succeeds or an outage of the API ends it. It runs to its end even if
//! its caller leaves, so nobody guesses for nothing. Each attempt reserves a token before it is sent, so a
//! thousand concurrent guesses get no further than a thousand sequential ones.

mod client_id;
mod limiter;
mod token_bucket;

use std::hash::{BuildHasher, Hasher, RandomState};

use http::HeaderName;
use unicode_normalization::UnicodeNormalization;

pub(crate) use self::client_id::ClientId;
use self::limiter::KeyedLimiter;
use crate::{
    call::Call,
    config::Attempts,
    envelope::{ApiError, ApiErrorKind},
    error::Error,
    invisible::is_invisible,
};

/// The kind of value that an attempt guesses.
#[derive(Clone, Copy)]
pub(crate) enum Guess<'a> {
    /// A code, which may be any user's: the caller is limited.
    Code,
    /// The answer to the secret question of this user, who is limited.
    Answer(&'a str),
}

/// The limits on guessing.
#[derive(Debug)]
pub(crate) struct AttemptLimiter {
    codes: KeyedLimiter,
    answers: KeyedLimiter,
    /// The metadata that tells callers apart, if any does.
    caller_metadata: Option<HeaderName>,
    /// Callers and users are kept as hashes with this key, never as text.
    hasher: RandomState,
}

impl AttemptLimiter {
    pub(crate) fn new(config: &Attempts) -> Self {
        Self {
            codes: KeyedLimiter::new(config.code_attempts, config.code_attempts_total),
            answers: KeyedLimiter::new(config.answer_attempts, None),
            caller_metadata: config.caller_metadata.clone(),
            hasher: RandomState::new(),
        }
    }

    /// Makes an attempt at a guess once the limits allow it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`], whatever ends the call while it waits, or the attempt's error.
    pub(crate) async fn limit<T>(
        &self,
        guess: Guess<'_>,
        client: ClientId,
        call: &Call,
        send: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let attempt = match guess {
            Guess::Code => self.codes.attempt(client.0, call).await?,
            Guess::Answer(user) => self.answers.attempt(self.user_id(user), call).await?,
        };
        let result = send().await;
        match &result {
            Err(error) if costs(error) => attempt.commit(),
            _ => attempt.refund(),
        }
        result
    }

    /// The same for all spellings of a user name that differ only in case, width, blanks or
    /// invisible characters.
    fn user_id(&self, name: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        name.nfkc()
            .filter(|c| !c.is_whitespace() && !is_invisible(*c))
            .flat_map(char::to_lowercase)
            .for_each(|c| hasher.write_u32(c.into()));
        hasher.finish()
    }
}

/// Whether a failed attempt costs a token. Any response does, even one that cannot be read, because it
/// may be how a release of the API refuses a guess; unless it shows an outage.
fn costs(error: &Error) -> bool {
    match error {
        Error::Api(error) => !is_outage(error),
        Error::TooLarge { .. } => true,
        // Not sent, or no response came.
        _ => false,
    }
}

/// Whether the API, or a proxy in front of it, did not get as far as the guess.
fn is_outage(error: &ApiError) -> bool {
    match error.http_status {
        408 | 429 => !error.is_from_api,
        500.. => true,
        _ => error.kind == ApiErrorKind::KeyRejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{ApiError, ApiResponse, RequestValues};

    /// A limiter without limits.
    pub(super) fn limiter(caller_metadata: Option<HeaderName>) -> AttemptLimiter {
        AttemptLimiter::new(&Attempts {
            code_attempts: None,
            code_attempts_total: None,
            answer_attempts: None,
            caller_metadata,
        })
    }

    fn failed(http_status: u16, kind: ApiErrorKind) -> Error {
        let response = ApiResponse {
            http_status,
            content_type: None,
            retry_after: None,
            body: bytes::Bytes::new(),
            values: RequestValues::default(),
        };
        Error::Api(ApiError::without_details(kind, &response))
    }

    #[test]
    fn any_response_costs_unless_it_shows_an_outage() {
        use ApiErrorKind as K;
        for (http_status, kind) in [
            (200, K::IncorrectAnswer),
            (200, K::Declined(None)),
            (200, K::Declined(Some(429))),
            (200, K::Declined(Some(500))),
            (200, K::Unexplained),
            (200, K::Malformed),
            (302, K::Redirected),
            (400, K::BadRequest),
            (403, K::Forbidden),
            (404, K::NotFound),
            (404, K::EndpointMissing),
            (409, K::Conflict),
            (422, K::Validation),
        ] {
            assert!(costs(&failed(http_status, kind)), "{kind:?}");
        }
        for (http_status, kind) in [
            (403, K::KeyRejected),
            (408, K::Timeout),
            (429, K::RateLimited),
            (500, K::Failed),
            (501, K::EndpointMissing),
            (502, K::BadGateway),
            (503, K::Unavailable),
            (504, K::Timeout),
        ] {
            assert!(!costs(&failed(http_status, kind)), "{kind:?}");
        }
        assert!(costs(&Error::TooLarge { http_status: 200 }));
        for error in [
            Error::Overloaded,
            Error::KeyMissing,
            Error::TimedOut { sent: true },
            Error::TimedOut { sent: false },
        ] {
            assert!(!costs(&error), "{error:?}");
        }
    }

    #[test]
    fn spellings_of_a_user_name_are_one_user() {
        let limiter = limiter(None);
        let (one, other) = (limiter.user_id("robert.zak"), limiter.user_id("jane.doe"));
        for name in [
            "Robert.Zak",
            " robert.zak\t",
            "\u{a0}ROBERT.ZAK",
            "ｒｏｂｅｒｔ．ｚａｋ",
            "robert.zak\u{200b}",
            "rob\u{ad}ert.zak\0",
            "robert. zak",
        ] {
            assert_eq!(limiter.user_id(name), one, "{name:?}");
        }
        assert_ne!(one, other);
        assert_ne!(one, limiter.user_id("robertzak"));
    }
}
