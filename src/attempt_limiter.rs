//! Limits guessing, and mail to traders. Step 3 takes six digits and no user name, so one guess tries all
//! codes that are valid at the time; step 1 takes answers to secret questions, and mails codes.
//!
//! Each limit is a bucket of tokens. A guess costs a token unless it succeeds or an outage of the API ends it; a
//! reset costs one unless it certainly mailed nothing. An attempt that was sent runs to its end even if its
//! caller leaves, so every guess is counted. Each reserves a token before it is sent, so a thousand concurrent
//! attempts get no further than a thousand sequential ones.

mod caller_id;
mod limiter;
mod token_bucket;

use std::hash::{BuildHasher, Hasher, RandomState};

use http::HeaderName;

pub(crate) use self::caller_id::CallerId;
use self::limiter::KeyedLimiter;
use crate::{
    call::Call,
    config::Attempts,
    envelope::{ApiError, ApiErrorKind},
    error::Error,
    status::{Classification, Outcome},
    user_name,
};

/// An attempt that is limited.
#[derive(Clone, Copy)]
pub(crate) enum Attempt<'a> {
    /// To guess a code, which may be any user's: the caller is limited.
    Code,
    /// To guess the answer to the secret question of this user, who is limited.
    Answer(&'a str),
    /// To have a code mailed to this user, who is limited.
    Reset(&'a str),
}

/// The limits on attempts.
#[derive(Debug)]
pub(crate) struct AttemptLimiter {
    codes: KeyedLimiter,
    answers: KeyedLimiter,
    resets: KeyedLimiter,
    /// The metadata that tells callers apart, if any does.
    caller_metadata: Option<HeaderName>,
    /// Callers and users are kept as hashes with this key, never as text.
    hasher: RandomState,
}

impl AttemptLimiter {
    pub(crate) fn new(config: &Attempts) -> Self {
        let guesses = |retry_after| Error::TooManyAttempts { retry_after };
        let resets = |retry_after| Error::TooManyResets { retry_after };
        Self {
            codes: KeyedLimiter::new(config.code_attempts, config.code_attempts_total, guesses),
            answers: KeyedLimiter::new(config.answer_attempts, None, guesses),
            resets: KeyedLimiter::new(config.resets, config.resets_total, resets),
            caller_metadata: config.caller_metadata.clone(),
            hasher: RandomState::new(),
        }
    }

    /// Sends a call once the limits on its attempts allow it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`] or [`Error::TooManyResets`], whatever ends the call while it waits, or the
    /// error of the call.
    pub(crate) async fn limit<T>(
        &self,
        attempts: &[Attempt<'_>],
        caller: CallerId,
        call: &Call,
        send: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut pending = Vec::new();
        for attempt in attempts {
            let (limiter, key) = match attempt {
                Attempt::Code => (&self.codes, caller.0),
                Attempt::Answer(user) => (&self.answers, self.user_id(user)),
                Attempt::Reset(user) => (&self.resets, self.user_id(user)),
            };
            pending.push(limiter.attempt(key, call).await?);
        }
        let result = send().await;
        for (attempt, pending) in attempts.iter().zip(pending) {
            let costs = match attempt {
                Attempt::Code | Attempt::Answer(_) => guess_costs(&result),
                Attempt::Reset(_) => reset_costs(&result),
            };
            pending.settle(costs);
        }
        result
    }

    /// The same for all spellings of a user name.
    fn user_id(&self, name: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        user_name::normalized(name).for_each(|c| hasher.write_u32(c.into()));
        hasher.finish()
    }
}

/// Whether a guess costs a token. Any failure does, even a response that cannot be read, because it may be
/// how a release of the API refuses a guess; unless it shows an outage.
fn guess_costs<T>(result: &Result<T, Error>) -> bool {
    match result {
        Err(Error::Api(error)) => !is_outage(error),
        Err(Error::TooLarge { .. }) => true,
        // A success, not sent, or no response came.
        _ => false,
    }
}

/// Whether a reset costs a token: a code may have been mailed.
fn reset_costs<T>(result: &Result<T, Error>) -> bool {
    let may_have_mailed = |error| Classification::of(error, false).outcome == Outcome::Unknown;
    result.as_ref().map_or_else(may_have_mailed, |_| true)
}

/// Whether the API, or a proxy in front of it, did not get as far as the guess. A result envelope shows that it did.
fn is_outage(error: &ApiError) -> bool {
    match error.http_status {
        408 | 429 | 500..=599 => !error.is_result,
        _ => error.kind == ApiErrorKind::KeyRejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope::{ApiError, ApiResponse, PrivateValues},
        user_name::tests::SPELLINGS,
    };

    /// A limiter without limits.
    pub(super) fn limiter(caller_metadata: Option<HeaderName>) -> AttemptLimiter {
        AttemptLimiter::new(&Attempts {
            code_attempts: None,
            code_attempts_total: None,
            answer_attempts: None,
            resets: None,
            resets_total: None,
            caller_metadata,
        })
    }

    fn failed(http_status: u16, kind: ApiErrorKind) -> Result<(), Error> {
        let response = ApiResponse {
            http_status,
            content_type: None,
            retry_after: None,
            body: String::new(),
            values: PrivateValues::default(),
        };
        Err(Error::Api(ApiError::without_details(kind, &response)))
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
            assert!(guess_costs(&failed(http_status, kind)), "{kind:?}");
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
            assert!(!guess_costs(&failed(http_status, kind)), "{kind:?}");
        }
        assert!(guess_costs::<()>(&Err(Error::TooLarge {
            http_status: 200
        })));
        assert!(!guess_costs(&Ok(())));
        for error in [
            Error::Overloaded,
            Error::KeyMissing,
            Error::TimedOut { sent: true },
            Error::TimedOut { sent: false },
        ] {
            assert!(!guess_costs::<()>(&Err(error)));
        }
    }

    #[test]
    fn a_reset_costs_if_a_code_may_have_been_mailed() {
        use ApiErrorKind as K;
        assert!(reset_costs(&Ok(())));
        assert!(reset_costs(&failed(503, K::Unavailable)));
        assert!(reset_costs(&failed(200, K::Malformed)));
        assert!(reset_costs::<()>(&Err(Error::TimedOut { sent: true })));
        assert!(!reset_costs(&failed(200, K::AnswerRequired)));
        assert!(!reset_costs(&failed(404, K::NotFound)));
        assert!(!reset_costs::<()>(&Err(Error::TimedOut { sent: false })));
    }

    #[test]
    fn spellings_of_a_user_name_are_one_user() {
        let limiter = limiter(None);
        let (one, other) = (limiter.user_id("robert.zak"), limiter.user_id("jane.doe"));
        for name in SPELLINGS {
            assert_eq!(limiter.user_id(name), one, "{name:?}");
        }
        assert_ne!(one, other);
        assert_ne!(one, limiter.user_id("robertzak"));
    }
}
