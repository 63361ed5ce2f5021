//! The stand-in's traders, codes and tokens: a state machine without any HTTP. Time is handed in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rand::Rng;

/// How long a mailed code works.
pub(super) const CODE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// How long a token works.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// All that the stand-in knows.
pub(super) struct Accounts {
    traders: Vec<Trader>,
    /// By code: six digits.
    codes: HashMap<String, Right>,
    tokens: HashMap<String, Right>,
}

struct Trader {
    login: &'static str,
    email: &'static str,
    question: Option<Question>,
    password: String,
    mailbox: Option<String>,
}

#[derive(Clone, Copy)]
struct Question {
    text: &'static str,
    answer: &'static str,
}

/// What a code or a token stands for, until it is used or expires.
struct Right {
    trader: usize,
    expires: Instant,
}

/// Why a step is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
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
    pub(super) fn new() -> Self {
        let question = Question {
            text: "What street did you live on in third grade?",
            answer: "Peterson",
        };
        let trader = |login, email, question| Trader {
            login,
            email,
            question,
            password: "the first password".to_owned(),
            mailbox: None,
        };
        Self {
            traders: vec![
                trader("robert.zak", "robert.zak@autoshares.com", Some(question)),
                trader("jane.doe", "hello@autoshares.com", None),
            ],
            codes: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Step 1: mails a code, which takes the place of the one before.
    pub(super) fn reset(
        &mut self,
        user: &str,
        answer: Option<&str>,
        now: Instant,
    ) -> Result<String, Refused> {
        let trader = self.find(user)?;
        if self.traders[trader]
            .question
            .is_some_and(|question| answer != Some(question.answer))
        {
            return Err(Refused::IncorrectAnswer);
        }
        self.codes.retain(|_, right| right.trader != trader);
        let code = loop {
            let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
            if !self.codes.contains_key(&code) {
                break code;
            }
        };
        self.codes.insert(
            code.clone(),
            Right {
                trader,
                expires: now + CODE_LIFETIME,
            },
        );
        self.traders[trader].mailbox = Some(code.clone());
        Ok(code)
    }

    /// Step 2: the question; none for a trader without one.
    pub(super) fn question(&self, user: &str) -> Result<Option<&'static str>, Refused> {
        let trader = &self.traders[self.find(user)?];
        Ok(trader.question.map(|question| question.text))
    }

    /// Step 3: exchanges a code for a token.
    pub(super) fn token(&mut self, code: &str, now: Instant) -> Result<String, Refused> {
        let trader = take(&mut self.codes, code, now).ok_or(Refused::IncorrectCode)?;
        let token = uuid::Builder::from_random_bytes(rand::random())
            .into_uuid()
            .to_string();
        self.tokens.insert(
            token.clone(),
            Right {
                trader,
                expires: now + TOKEN_LIFETIME,
            },
        );
        Ok(token)
    }

    /// Step 4: sets the password.
    pub(super) fn set_password(
        &mut self,
        token: &str,
        password: &str,
        now: Instant,
    ) -> Result<(), Refused> {
        let trader = take(&mut self.tokens, token, now).ok_or(Refused::IncorrectToken)?;
        password.clone_into(&mut self.traders[trader].password);
        Ok(())
    }

    /// The code that was mailed last.
    pub(super) fn mailbox(&self, user: &str) -> Option<&str> {
        self.traders[self.find(user).ok()?].mailbox.as_deref()
    }

    fn find(&self, user: &str) -> Result<usize, Refused> {
        let found = self
            .traders
            .iter()
            .position(|trader| trader.login == user || trader.email == user);
        found.ok_or(Refused::UnknownUser)
    }
}

/// Uses up a right; `None` if there is none of that name or it has expired.
fn take(rights: &mut HashMap<String, Right>, name: &str, now: Instant) -> Option<usize> {
    rights.retain(|_, right| right.expires > now);
    rights.remove(name).map(|right| right.trader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_ends_with_the_new_password() {
        let (mut accounts, now) = (Accounts::new(), Instant::now());
        assert_eq!(
            accounts.reset("robert.zak", None, now),
            Err(Refused::IncorrectAnswer)
        );
        assert_eq!(
            accounts.reset("robert.zak", Some("Main"), now),
            Err(Refused::IncorrectAnswer)
        );
        let code = accounts.reset("robert.zak", Some("Peterson"), now).unwrap();
        assert_eq!(accounts.mailbox("robert.zak"), Some(code.as_str()));
        let token = accounts.token(&code, now).unwrap();
        assert_eq!(
            accounts.token(&code, now),
            Err(Refused::IncorrectCode),
            "a code works once"
        );
        accounts.set_password(&token, "new", now).unwrap();
        assert_eq!(accounts.traders[0].password, "new");
        assert_eq!(
            accounts.set_password(&token, "newer", now),
            Err(Refused::IncorrectToken),
            "a token works once"
        );
    }

    #[test]
    fn an_account_without_a_question_needs_no_answer() {
        let (mut accounts, now) = (Accounts::new(), Instant::now());
        assert_eq!(accounts.question("hello@autoshares.com"), Ok(None));
        assert!(accounts.reset("jane.doe", None, now).is_ok());
        assert!(accounts.reset("hello@autoshares.com", None, now).is_ok());
        assert_eq!(
            accounts.reset("nobody", None, now),
            Err(Refused::UnknownUser)
        );
    }

    #[test]
    fn codes_and_tokens_expire() {
        let (mut accounts, now) = (Accounts::new(), Instant::now());
        let code = accounts.reset("jane.doe", None, now).unwrap();
        assert_eq!(
            accounts.token(&code, now + CODE_LIFETIME),
            Err(Refused::IncorrectCode)
        );
        let code = accounts.reset("jane.doe", None, now).unwrap();
        let token = accounts.token(&code, now).unwrap();
        assert_eq!(
            accounts.set_password(&token, "new", now + TOKEN_LIFETIME),
            Err(Refused::IncorrectToken)
        );
    }

    #[test]
    fn a_new_code_takes_the_place_of_the_one_before() {
        let (mut accounts, now) = (Accounts::new(), Instant::now());
        let first = accounts.reset("jane.doe", None, now).unwrap();
        let second = accounts.reset("jane.doe", None, now).unwrap();
        if first != second {
            assert_eq!(accounts.token(&first, now), Err(Refused::IncorrectCode));
        }
        assert!(accounts.token(&second, now).is_ok());
    }
}
