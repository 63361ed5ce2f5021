//! The stand-in's traders, codes and tokens: a state machine without HTTP. Callers pass the time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rand::Rng;
use uuid::Builder;

/// How long a code or a token works.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The traders. Passwords are not part of them, because nothing asks for them.
const TRADERS: [Trader; 2] = [
    Trader {
        login: "robert.zak",
        email: "robert.zak@autoshares.com",
        question: Some("What street did you live on in third grade?"),
        answer: Some("Peterson"),
    },
    Trader {
        login: "jane.doe",
        email: "hello@autoshares.com",
        question: None,
        answer: None,
    },
];

struct Trader {
    login: &'static str,
    email: &'static str,
    /// The secret question.
    question: Option<&'static str>,
    answer: Option<&'static str>,
}

/// The state of the stand-in.
#[derive(Default)]
pub(super) struct Accounts {
    /// For each trader the code that was mailed last.
    mailboxes: [Option<String>; TRADERS.len()],
    /// By code, which has six digits.
    codes: HashMap<String, Grant>,
    /// By token.
    tokens: HashMap<String, Grant>,
}

/// Whom a code or a token stands for, until it is used or expires.
struct Grant {
    /// The trader's index.
    trader: usize,
    expires: Instant,
}

/// Why a step is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No trader has that login or e-mail address.
    UnknownUser,
    /// The answer to the secret question is missing or wrong.
    IncorrectAnswer,
    /// The code is wrong, used or expired.
    IncorrectCode,
    /// The token is wrong, used or expired.
    IncorrectToken,
}

impl Accounts {
    /// Step 1: mails a code, which replaces the previous one.
    pub(super) fn reset(
        &mut self,
        user: &str,
        answer: Option<&str>,
        now: Instant,
    ) -> Result<String, Refusal> {
        let trader = find(user)?;
        let expected = TRADERS[trader].answer;
        if expected.is_some() && answer != expected {
            return Err(Refusal::IncorrectAnswer);
        }
        self.codes.retain(|_, grant| grant.trader != trader);
        let code = loop {
            let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
            if !self.codes.contains_key(&code) {
                break code;
            }
        };
        self.codes.insert(code.clone(), Grant::new(trader, now));
        self.mailboxes[trader] = Some(code.clone());
        Ok(code)
    }

    /// Step 3: exchanges a code for a token.
    pub(super) fn token(&mut self, code: &str, now: Instant) -> Result<String, Refusal> {
        let trader = take(&mut self.codes, code, now).ok_or(Refusal::IncorrectCode)?;
        let token = Builder::from_random_bytes(rand::random())
            .into_uuid()
            .to_string();
        self.tokens.insert(token.clone(), Grant::new(trader, now));
        Ok(token)
    }

    /// Step 4: uses up the token.
    pub(super) fn set_password(&mut self, token: &str, now: Instant) -> Result<(), Refusal> {
        let trader = take(&mut self.tokens, token, now);
        trader.map(drop).ok_or(Refusal::IncorrectToken)
    }

    /// The code that was mailed last.
    pub(super) fn mailbox(&self, user: &str) -> Option<&str> {
        self.mailboxes[find(user).ok()?].as_deref()
    }
}

/// Step 2: the secret question; `None` for a trader without one.
pub(super) fn question(user: &str) -> Result<Option<&'static str>, Refusal> {
    find(user).map(|trader| TRADERS[trader].question)
}

fn find(user: &str) -> Result<usize, Refusal> {
    let is_user = |trader: &Trader| trader.login == user || trader.email == user;
    TRADERS.iter().position(is_user).ok_or(Refusal::UnknownUser)
}

impl Grant {
    fn new(trader: usize, now: Instant) -> Self {
        Self {
            trader,
            expires: now + LIFETIME,
        }
    }
}

/// Uses up a code or a token. `None` if it is unknown or has expired.
fn take(grants: &mut HashMap<String, Grant>, name: &str, now: Instant) -> Option<usize> {
    grants.retain(|_, grant| grant.expires > now);
    grants.remove(name).map(|grant| grant.trader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_tokens_work_once() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        assert_eq!(
            accounts.reset("robert.zak", None, now),
            Err(Refusal::IncorrectAnswer)
        );
        assert_eq!(
            accounts.reset("robert.zak", Some("Main"), now),
            Err(Refusal::IncorrectAnswer)
        );
        let code = accounts.reset("robert.zak", Some("Peterson"), now).unwrap();
        assert_eq!(accounts.mailbox("robert.zak"), Some(code.as_str()));
        let token = accounts.token(&code, now).unwrap();
        assert_eq!(
            accounts.token(&code, now),
            Err(Refusal::IncorrectCode),
            "a code works once"
        );
        accounts.set_password(&token, now).unwrap();
        assert_eq!(
            accounts.set_password(&token, now),
            Err(Refusal::IncorrectToken),
            "a token works once"
        );
    }

    #[test]
    fn an_account_without_a_question_needs_no_answer() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        assert_eq!(question("hello@autoshares.com"), Ok(None));
        assert!(accounts.reset("jane.doe", None, now).is_ok());
        assert!(accounts.reset("hello@autoshares.com", None, now).is_ok());
        assert_eq!(
            accounts.reset("nobody", None, now),
            Err(Refusal::UnknownUser)
        );
    }

    #[test]
    fn codes_and_tokens_expire() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let code = accounts.reset("jane.doe", None, now).unwrap();
        assert_eq!(
            accounts.token(&code, now + LIFETIME),
            Err(Refusal::IncorrectCode)
        );
        let code = accounts.reset("jane.doe", None, now).unwrap();
        let token = accounts.token(&code, now).unwrap();
        assert_eq!(
            accounts.set_password(&token, now + LIFETIME),
            Err(Refusal::IncorrectToken)
        );
    }

    #[test]
    fn a_new_code_replaces_the_previous_one() {
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let first = accounts.reset("jane.doe", None, now).unwrap();
        let second = accounts.reset("jane.doe", None, now).unwrap();
        if first != second {
            assert_eq!(accounts.token(&first, now), Err(Refusal::IncorrectCode));
        }
        assert!(accounts.token(&second, now).is_ok());
    }
}
