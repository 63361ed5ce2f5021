//! Limits guessing. Step 3 takes six digits and no user name, so one guess tries all open codes at
//! once; step 1 takes answers to secret questions.
//!
//! An attempt costs a token if the API refuses it, or if the caller cancels it or lets a short deadline
//! expire. Attempts that succeed cost nothing. Each attempt reserves a token before it is sent, so a
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
    envelope::ApiErrorKind,
    error::Error,
    invisible::is_invisible,
    status::{Classification, Fault, Outcome},
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
            Err(error) if costs(error, call.is_callers_deadline) => attempt.commit(),
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

/// Whether a failed attempt costs a token: the API refused the guess, or the caller did not wait
/// for the response.
fn costs(error: &Error, is_callers_deadline: bool) -> bool {
    match error {
        // Some releases of the API may refuse a guess like this.
        Error::Api(error) if error.kind == ApiErrorKind::Unexplained => true,
        Error::Api(_) => {
            let classification = Classification::of(error, false);
            classification.fault == Fault::Caller && classification.outcome == Outcome::Refused
        }
        // The API may take longer to refuse a guess than to accept it. A short deadline would then
        // reveal a wrong guess for free.
        Error::TimedOut { sent } => *sent && is_callers_deadline,
        _ => false,
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

    fn refused(kind: ApiErrorKind) -> Error {
        let body = String::new();
        let response = ApiResponse {
            http_status: 200,
            content_type: None,
            retry_after: None,
            body,
            values: RequestValues::default(),
        };
        Error::Api(ApiError::without_details(kind, &response))
    }

    #[test]
    fn only_a_refusal_by_the_api_costs() {
        use ApiErrorKind as K;
        for kind in [
            K::IncorrectAnswer,
            K::Declined(None),
            K::Declined(Some(404)),
            K::Unexplained,
            K::BadRequest,
            K::Validation,
            K::Forbidden,
            K::NotFound,
            K::Conflict,
        ] {
            assert!(costs(&refused(kind), false), "{kind:?}");
        }
        for kind in [
            K::KeyRejected,
            K::EndpointMissing,
            K::RateLimited,
            K::Unavailable,
            K::BadGateway,
            K::Timeout,
            K::Failed,
            K::Redirected,
            K::Malformed,
            K::Declined(Some(429)),
            K::Declined(Some(500)),
        ] {
            assert!(!costs(&refused(kind), true), "{kind:?}");
        }
        for error in [
            Error::Overloaded,
            Error::KeyMissing,
            Error::TooLarge { http_status: 200 },
        ] {
            assert!(!costs(&error, true), "{error:?}");
        }
    }

    #[test]
    fn a_deadline_costs_if_the_caller_shortened_it() {
        assert!(costs(&Error::TimedOut { sent: true }, true));
        assert!(
            !costs(&Error::TimedOut { sent: true }, false),
            "the gateway's own timeout: the API is slow"
        );
        assert!(!costs(&Error::TimedOut { sent: false }, true));
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
