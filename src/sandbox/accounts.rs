//! The stand-in's traders, codes and tokens: a state machine without HTTP.

use std::{collections::HashMap, time::Duration};

use rand::Rng;
use tokio::time::Instant;
use uuid::Builder;

/// How long a code or a token works.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The traders. Passwords are not part of them, because nothing asks for them.
const TRADERS: [Trader; 2] = [
    Trader {
        login: "robert.zak",
        email: "robert.zak@autoshares.com",
        question: Some(("What street did you live on in third grade?", "Peterson")),
    },
    Trader {
        login: "jane.doe",
        email: "hello@autoshares.com",
        question: None,
    },
];

struct Trader {
    login: &'static str,
    email: &'static str,
    /// The secret question and its answer.
    question: Option<(&'static str, &'static str)>,
}

/// The state of the stand-in.
#[derive(Default)]
pub(super) struct Accounts {
    /// For each trader the code that was mailed last.
    mailboxes: [Option<String>; TRADERS.len()],
    codes: Grants,
    tokens: Grants,
}

/// The codes or tokens that work: for each the trader's index, and when it expires.
type Grants = HashMap<String, (usize, Instant)>;

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
    pub(super) fn reset(&mut self, user: &str, answer: Option<&str>) -> Result<String, Refusal> {
        let trader = find(user)?;
        let question = TRADERS[trader].question;
        if question.is_some_and(|(_, expected)| answer != Some(expected)) {
            return Err(Refusal::IncorrectAnswer);
        }
        self.codes.retain(|_, (owner, _)| *owner != trader);
        let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
        self.mailboxes[trader] = Some(code.clone());
        Ok(issue(&mut self.codes, code, trader))
    }

    /// Step 3: exchanges a code for a token.
    pub(super) fn token(&mut self, code: &str) -> Result<String, Refusal> {
        let trader = take(&mut self.codes, code).ok_or(Refusal::IncorrectCode)?;
        let token = Builder::from_random_bytes(rand::random()).into_uuid();
        Ok(issue(&mut self.tokens, token.to_string(), trader))
    }

    /// Step 4: uses up the token.
    pub(super) fn set_password(&mut self, token: &str) -> Result<(), Refusal> {
        let trader = take(&mut self.tokens, token);
        trader.map(drop).ok_or(Refusal::IncorrectToken)
    }

    /// The code that was mailed last.
    pub(super) fn mailbox(&self, user: &str) -> Option<&str> {
        self.mailboxes[find(user).ok()?].as_deref()
    }
}

/// Step 2: the secret question; `None` for a trader without one.
pub(super) fn question(user: &str) -> Result<Option<&'static str>, Refusal> {
    let trader = &TRADERS[find(user)?];
    Ok(trader.question.map(|(question, _)| question))
}

fn find(user: &str) -> Result<usize, Refusal> {
    let is_user = |trader: &Trader| trader.login == user || trader.email == user;
    TRADERS.iter().position(is_user).ok_or(Refusal::UnknownUser)
}

/// Lets a code or a token work from now on.
fn issue(grants: &mut Grants, name: String, trader: usize) -> String {
    grants.insert(name.clone(), (trader, Instant::now() + LIFETIME));
    name
}

/// Uses up a code or a token. `None` if it is unknown or has expired.
fn take(grants: &mut Grants, name: &str) -> Option<usize> {
    grants.retain(|_, (_, expires)| *expires > Instant::now());
    grants.remove(name).map(|(trader, _)| trader)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn codes_and_tokens_work_once() {
        let mut accounts = Accounts::default();
        assert_eq!(
            accounts.reset("robert.zak", None),
            Err(Refusal::IncorrectAnswer)
        );
        assert_eq!(
            accounts.reset("robert.zak", Some("Main")),
            Err(Refusal::IncorrectAnswer)
        );
        let code = accounts.reset("robert.zak", Some("Peterson")).unwrap();
        assert_eq!(accounts.mailbox("robert.zak"), Some(code.as_str()));
        let token = accounts.token(&code).unwrap();
        assert_eq!(
            accounts.token(&code),
            Err(Refusal::IncorrectCode),
            "a code works once"
        );
        accounts.set_password(&token).unwrap();
        assert_eq!(
            accounts.set_password(&token),
            Err(Refusal::IncorrectToken),
            "a token works once"
        );
    }

    #[test]
    fn an_account_without_a_question_needs_no_answer() {
        let mut accounts = Accounts::default();
        assert_eq!(question("hello@autoshares.com"), Ok(None));
        assert!(accounts.reset("jane.doe", None).is_ok());
        assert!(accounts.reset("hello@autoshares.com", None).is_ok());
        assert_eq!(accounts.reset("nobody", None), Err(Refusal::UnknownUser));
    }

    #[tokio::test(start_paused = true)]
    async fn codes_and_tokens_expire() {
        let mut accounts = Accounts::default();
        let code = accounts.reset("jane.doe", None).unwrap();
        advance(LIFETIME).await;
        assert_eq!(accounts.token(&code), Err(Refusal::IncorrectCode));
        let code = accounts.reset("jane.doe", None).unwrap();
        let token = accounts.token(&code).unwrap();
        advance(LIFETIME).await;
        assert_eq!(accounts.set_password(&token), Err(Refusal::IncorrectToken));
    }

    #[test]
    fn a_new_code_replaces_the_previous_one() {
        let mut accounts = Accounts::default();
        let first = accounts.reset("jane.doe", None).unwrap();
        let second = accounts.reset("jane.doe", None).unwrap();
        if first != second {
            assert_eq!(accounts.token(&first), Err(Refusal::IncorrectCode));
        }
        assert!(accounts.token(&second).is_ok());
    }
}
