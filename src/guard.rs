//! Slows guessing down. Step 3 takes six digits and no user name, so that one guess tries all codes that are open; step 1
//! takes answers to secret questions.
//!
//! Only an attempt that the API refuses costs a token, so traffic that succeeds has no limit; but each needs a token that
//! it could cost, so that a thousand guesses at once are no more than a thousand in a row.

mod bucket;

mod latest;

mod limit;

use std::hash::{BuildHasher, Hasher, RandomState};

use unicode_normalization::UnicodeNormalization;

pub(crate) use self::bucket::Rate;
use self::limit::Limit;
use crate::{
    app_key::Owner,
    call::Call,
    caller::Caller,
    envelope::{Cause, Refusal},
    error::Error,
    status::{Fault, Outcome, Verdict},
    unseen::is_unseen,
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
pub(crate) struct Guard {
    codes: Limit,
    answers: Limit,
    /// The key of the hashes that stand for user names, of which none is kept.
    names: RandomState,
}

/// The guard as one call sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts<'a> {
    guard: &'a Guard,
    caller: Caller,
    call: &'a Call,
}

impl Guard {
    /// The guard with those limits.
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            codes: Limit::new(rates.codes, rates.all_codes),
            answers: Limit::new(rates.answers, None),
            names: RandomState::new(),
        }
    }

    /// What that call of that caller may try.
    pub(crate) fn attempts<'a>(&'a self, caller: Caller, call: &'a Call) -> Attempts<'a> {
        Attempts {
            guard: self,
            caller,
            call,
        }
    }

    /// What stands for a user: the same in whichever case, and with whatever blanks and unseen characters the name is
    /// written.
    fn user(&self, name: &str) -> u64 {
        let mut hasher = self.names.build_hasher();
        for c in name
            .nfkc()
            .filter(|c| !c.is_whitespace() && !is_unseen(*c))
            .flat_map(char::to_lowercase)
        {
            hasher.write_u32(c.into());
        }
        hasher.finish()
    }
}

impl Attempts<'_> {
    /// Tries a code, by `attempt`, if that may be.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyAttempts`], what ends the call while it waits, or whatever the attempt comes to.
    pub(crate) async fn of_code<T>(
        self,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.make(&self.guard.codes, self.caller.0, attempt).await
    }

    /// Tries an answer to the secret question of that user, in the same way.
    ///
    /// # Errors
    ///
    /// As for a code.
    pub(crate) async fn of_answer<T>(
        self,
        user: &str,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.make(&self.guard.answers, self.guard.user(user), attempt)
            .await
    }

    async fn make<T>(
        self,
        limit: &Limit,
        key: u64,
        attempt: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let permit = limit.permit(key, self.call).await?;
        let result = attempt().await;
        permit.settle(
            result
                .as_ref()
                .is_err_and(|error| costs(error, self.call.is_hurried)),
        );
        result
    }
}

/// Whether an attempt that came to this counts: the API has said no to it, or its caller did not want to know.
fn costs(error: &Error, is_hurried: bool) -> bool {
    match error {
        // It may be how a release of the API says no.
        Error::Refused(Refusal {
            cause: Cause::Unexplained,
            ..
        }) => true,
        // Whoever's the key is, nothing was said to the attempt.
        Error::Refused(Refusal {
            cause: Cause::KeyRejected,
            ..
        }) => false,
        Error::Refused(_) => {
            let verdict = Verdict::of(error, false, Owner::Gateway);
            (verdict.fault, verdict.outcome) == (Fault::Caller, Outcome::Refused)
        }
        // A deadline that is shorter than the gateway's is the caller's way of going: where the API takes longer to say no
        // than to say yes, one between the two would make guessing free.
        Error::TimedOut { sent } => *sent && is_hurried,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Answer, Values};

    fn refused(cause: Cause) -> Error {
        let body = bytes::Bytes::new();
        let answer = Answer {
            http_status: 200,
            content_type: None,
            retry_after: None,
            body,
            values: Values::default(),
        };
        Error::Refused(Refusal::bare(cause, &answer))
    }

    #[test]
    fn what_says_no_to_the_attempt_counts_and_nothing_else() {
        use Cause as C;
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
        let guard = Guard::new(Rates {
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
