//! Limits guessing. Step 3 takes six digits and no user name, so one guess tries all open codes at
//! once; step 1 takes answers to secret questions.
//!
//! Only an attempt that the API refuses costs a token, so traffic that succeeds is not limited. But
//! each attempt needs a token that it could cost, so a thousand guesses at once get no further than
//! a thousand in a row.

pub(crate) mod client_id;
mod limiter;
mod token_bucket;

use std::hash::{BuildHasher, Hasher, RandomState};

use unicode_normalization::UnicodeNormalization;

pub(crate) use self::token_bucket::Rate;
use self::{client_id::ClientId, limiter::Limiter};
use crate::{
    app_key::KeyOwner,
    call::Call,
    envelope::ApiErrorKind,
    error::Error,
    invisible::is_invisible,
    status::{Classification, Fault, Outcome},
};

/// How many attempts the API may refuse; `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Codes of each caller.
    pub codes: Option<Rate>,
    /// Codes of all callers together.
    pub all_codes: Option<Rate>,
    /// Answers to the secret question of each user.
    pub answers: Option<Rate>,
}

/// What an attempt guesses, and whose limit it counts against.
pub(crate) enum Guess<'a> {
    /// A code, by this client.
    Code(ClientId),
    /// The answer to the secret question of this user.
    Answer(&'a str),
}

/// The limits on guessing.
#[derive(Debug)]
pub(crate) struct AttemptLimiter {
    codes: Limiter,
    answers: Limiter,
    /// User names are kept as hashes with this key, never as text.
    user_hasher: RandomState,
}

impl AttemptLimiter {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            codes: Limiter::new(rates.codes, rates.all_codes),
            answers: Limiter::new(rates.answers, None),
            user_hasher: RandomState::new(),
        }
    }

    /// Makes `attempt` once the limit on its `guess` allows it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`], whatever ends the call while it waits, or the attempt's error.
    pub(crate) async fn limit<T>(
        &self,
        guess: Guess<'_>,
        call: &Call,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let permit = match guess {
            Guess::Code(client) => self.codes.attempt(client.0, call),
            Guess::Answer(user) => self.answers.attempt(self.user_id(user), call),
        };
        let permit = permit.await?;
        let result = attempt().await;
        let error = result.as_ref().err();
        permit.settle(error.is_some_and(|error| costs(error, call.is_shortened)));
        result
    }

    /// The same for all spellings of a user name that differ only in case, width, blanks or
    /// invisible characters.
    fn user_id(&self, name: &str) -> u64 {
        let mut hasher = self.user_hasher.build_hasher();
        name.nfkc()
            .filter(|c| !c.is_whitespace() && !is_invisible(*c))
            .flat_map(char::to_lowercase)
            .for_each(|c| hasher.write_u32(c.into()));
        hasher.finish()
    }
}

/// Whether a failed attempt costs a token: the API refused it, or its caller did not wait.
fn costs(error: &Error, is_shortened: bool) -> bool {
    match error {
        // Some releases of the API may refuse a guess like this.
        Error::Refused(error) if error.kind == ApiErrorKind::Unexplained => true,
        // The API rejected the key and never looked at the guess.
        Error::Refused(error) if error.kind == ApiErrorKind::KeyRejected => false,
        Error::Refused(_) => {
            let classification = Classification::of(error, false, KeyOwner::Gateway);
            classification.fault == Fault::Caller && classification.outcome == Outcome::Refused
        }
        // Where the API takes longer to refuse than to accept, a short deadline would otherwise
        // tell a wrong guess for free.
        Error::TimedOut { sent } => *sent && is_shortened,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{ApiError, ApiResponse, RequestValues};

    fn refused(kind: ApiErrorKind) -> Error {
        let body = bytes::Bytes::new();
        let response = ApiResponse {
            http_status: 200,
            content_type: None,
            retry_after: None,
            body,
            values: RequestValues::default(),
        };
        Error::Refused(ApiError::bare(kind, &response))
    }

    #[test]
    fn only_a_refusal_by_the_api_costs() {
        use ApiErrorKind as K;
        let refusals = [
            K::IncorrectAnswer,
            K::Declined(None),
            K::Declined(Some(404)),
            K::Unexplained,
            K::BadRequest,
        ];
        for kind in [
            &refusals[..],
            &[K::Validation, K::Forbidden, K::NotFound, K::Conflict],
        ]
        .concat()
        {
            assert!(costs(&refused(kind), false), "{kind:?}");
        }
        let not_refusals = [
            K::KeyRejected,
            K::EndpointMissing,
            K::RateLimited,
            K::Unavailable,
            K::BadGateway,
        ];
        let failed = [
            K::Timeout,
            K::Failed,
            K::Redirected,
            K::Malformed,
            K::Declined(Some(429)),
            K::Declined(Some(500)),
        ];
        for kind in [&not_refusals[..], &failed].concat() {
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
        let limiter = AttemptLimiter::new(Rates {
            codes: None,
            all_codes: None,
            answers: None,
        });
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
