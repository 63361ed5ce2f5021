//! Slows guessing down. Step 3 takes six digits and no user name, so that one guess tries all codes that are open; step 1
//! takes answers to secret questions.
//!
//! Only an attempt that the API refuses costs a token, so traffic that succeeds has no limit; but each needs a token that
//! it could cost, so that a thousand guesses at once are no more than a thousand in a row.

mod token_bucket;

mod latest;

mod limiter;

pub(crate) mod client_id;

use std::hash::{BuildHasher, Hasher, RandomState};

use unicode_normalization::UnicodeNormalization;

use self::limiter::Limit;
pub(crate) use self::token_bucket::Rate;
use crate::{
    app_key::KeyOwner,
    attempt_limiter::client_id::ClientId,
    call::Call,
    envelope::{ApiError, ApiErrorKind},
    error::Error,
    invisible::is_invisible,
    status::{Classification, Fault, Outcome},
};

/// The most attempts that the API may refuse; `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Codes, of each caller.
    pub codes: Option<Rate>,
    /// Codes, of all callers together.
    pub all_codes: Option<Rate>,
    /// Answers to the secret question, of each user.
    pub answers: Option<Rate>,
}

/// The limits on guessing.
#[derive(Debug)]
pub(crate) struct AttemptLimiter {
    codes: Limit,
    answers: Limit,
    /// The key of the hashes that stand for user names, of which none is kept.
    names: RandomState,
}

impl AttemptLimiter {
    /// The guard with those limits.
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            codes: Limit::new(rates.codes, rates.all_codes),
            answers: Limit::new(rates.answers, None),
            names: RandomState::new(),
        }
    }

    /// Makes `attempt`, which tries a code for that client, if the limits allow it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`], whatever ends the call while it waits, or the error of the attempt.
    pub(crate) async fn try_code<T>(
        &self,
        client: ClientId,
        call: &Call,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        make(&self.codes, client.0, call, attempt).await
    }

    /// Makes `attempt`, which tries an answer to the secret question of that user, if the limits allow it.
    ///
    /// # Errors
    ///
    /// As for [`Self::try_code`].
    pub(crate) async fn try_answer<T>(
        &self,
        user: &str,
        call: &Call,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        make(&self.answers, self.user(user), call, attempt).await
    }

    /// What stands for a user: the same in whichever case, and with whatever blanks and unseen characters the name is
    /// written.
    fn user(&self, name: &str) -> u64 {
        let mut hasher = self.names.build_hasher();
        for c in name
            .nfkc()
            .filter(|c| !c.is_whitespace() && !is_invisible(*c))
            .flat_map(char::to_lowercase)
        {
            hasher.write_u32(c.into());
        }
        hasher.finish()
    }
}

async fn make<T>(
    limit: &Limit,
    key: u64,
    call: &Call,
    attempt: impl AsyncFnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let permit = limit.permit(key, call).await?;
    let result = attempt().await;
    permit.settle(
        result
            .as_ref()
            .is_err_and(|error| costs(error, call.is_shortened)),
    );
    result
}

/// Whether an attempt that came to this counts: the API has said no to it, or its caller did not want to know.
fn costs(error: &Error, is_shortened: bool) -> bool {
    match error {
        // It may be how a release of the API says no.
        Error::Refused(ApiError {
            kind: ApiErrorKind::Unexplained,
            ..
        }) => true,
        // Whoever's the key is, nothing was said to the attempt.
        Error::Refused(ApiError {
            kind: ApiErrorKind::KeyRejected,
            ..
        }) => false,
        Error::Refused(_) => {
            let verdict = Classification::of(error, false, KeyOwner::Gateway);
            (verdict.fault, verdict.outcome) == (Fault::Caller, Outcome::Refused)
        }
        // A deadline that is shorter than the gateway's is the caller's way of going: where the API takes longer to say no
        // than to say yes, one between the two would make guessing free.
        Error::TimedOut { sent } => *sent && is_shortened,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{ApiResponse, RequestValues};

    fn refused(kind: ApiErrorKind) -> Error {
        let body = bytes::Bytes::new();
        let answer = ApiResponse {
            http_status: 200,
            content_type: None,
            retry_after: None,
            body,
            values: RequestValues::default(),
        };
        Error::Refused(ApiError::bare(kind, &answer))
    }

    #[test]
    fn what_says_no_to_the_attempt_counts_and_nothing_else() {
        use ApiErrorKind as C;
        let says_no = [
            C::IncorrectAnswer,
            C::Declined(None),
            C::Declined(Some(404)),
            C::Unexplained,
            C::BadRequest,
        ];
        for cause in [
            &says_no[..],
            &[C::Validation, C::Forbidden, C::NotFound, C::Conflict],
        ]
        .concat()
        {
            assert!(costs(&refused(cause), false), "{cause:?}");
        }
        let says_nothing = [
            C::KeyRejected,
            C::EndpointMissing,
            C::RateLimited,
            C::Unavailable,
            C::BadGateway,
        ];
        let failed = [
            C::Timeout,
            C::Failed,
            C::Redirected,
            C::Malformed,
            C::Declined(Some(429)),
            C::Declined(Some(500)),
        ];
        for cause in [&says_nothing[..], &failed].concat() {
            assert!(!costs(&refused(cause), true), "{cause:?}");
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
    fn a_deadline_counts_if_the_caller_made_it_short() {
        assert!(costs(&Error::TimedOut { sent: true }, true));
        assert!(
            !costs(&Error::TimedOut { sent: true }, false),
            "the gateway's own: the API is slow"
        );
        assert!(!costs(&Error::TimedOut { sent: false }, true));
    }

    #[test]
    fn a_user_is_the_same_however_the_name_is_written() {
        let guard = AttemptLimiter::new(Rates {
            codes: None,
            all_codes: None,
            answers: None,
        });
        let (one, other) = (guard.user("robert.zak"), guard.user("jane.doe"));
        for name in [
            "Robert.Zak",
            " robert.zak\t",
            "\u{a0}ROBERT.ZAK",
            "ｒｏｂｅｒｔ．ｚａｋ",
            "robert.zak\u{200b}",
            "rob\u{ad}ert.zak\0",
            "robert. zak",
        ] {
            assert_eq!(guard.user(name), one, "{name:?}");
        }
        assert_ne!(one, other);
        assert_ne!(one, guard.user("robertzak"));
    }
}
