//! Keyed hashes that stand for a user or a token in the log: they join the events of one person without a name. Only who has
//! the key can tell whose they are.

use std::{fmt, path::Path};

use ring::hmac;
use tokio::sync::watch;

use crate::{
    config::ConfigError,
    followed_files::{FollowedFiles, SettingFile},
    proto::{
        GenerateTokenRequest, GenerateTokenResponse, GetSecretQuestionRequest,
        GetSecretQuestionResponse, ResetPasswordRequest, ResetPasswordResponse,
        UpdatePasswordRequest, UpdatePasswordResponse,
    },
    user_name,
};

/// The shortest key, in bytes: as long as the hash that it is for, as RFC 2104 has it.
const MIN_LEN: usize = 32;

/// What a message is about.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    User(&'a str),
    Token(&'a str),
}

/// A message that may be about a user or a token.
pub(crate) trait HasSubject {
    /// What the message is about, if it says so.
    fn subject(&self) -> Option<Subject<'_>> {
        None
    }
}

/// The hash of a subject, cut to 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubjectHash {
    User(Hash),
    Token(Hash),
}

/// 128 bits, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u128);

/// The key of the hashes, which changes with its file.
#[derive(Clone, Debug)]
pub(crate) struct AuditKey(pub(crate) watch::Receiver<hmac::Key>);

impl AuditKey {
    /// The subject's hash: HMAC-SHA256 of `user:` and the normalized name, or of `token:` and the token.
    pub(crate) fn hash(&self, subject: Subject<'_>) -> SubjectHash {
        match subject {
            Subject::User(name) => {
                let name: String = user_name::normalized(name).collect();
                SubjectHash::User(self.hash_parts(["user:", &name]))
            }
            Subject::Token(token) => SubjectHash::Token(self.hash_parts(["token:", token])),
        }
    }

    fn hash_parts(&self, parts: [&str; 2]) -> Hash {
        let mut context = hmac::Context::with_key(&self.0.borrow());
        for part in parts {
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let first = tag.as_ref().first_chunk();
        Hash(u128::from_be_bytes(*first.expect("it has 32 bytes")))
    }
}

/// Reads a key from the file of `--audit-key-file`. Line breaks at its end are not part of the key.
///
/// # Errors
///
/// Why the file cannot be read, or that its key is too short.
pub(crate) fn load(path: &Path) -> Result<FollowedFiles<hmac::Key>, ConfigError> {
    let file = SettingFile::new(
        "--audit-key-file",
        "a file with a secret of at least 32 bytes",
        path,
    );
    FollowedFiles::load("the audit key", vec![file], |files| {
        let is_line_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let bytes = &files[0].bytes;
        let breaks = bytes.iter().rev().take_while(|it| is_line_break(it));
        let key = &bytes[..bytes.len() - breaks.count()];
        match key.len() {
            MIN_LEN.. => Ok(hmac::Key::new(hmac::HMAC_SHA256, key)),
            _ => Err(files[0].error("the secret in it is shorter")),
        }
    })
}

impl SubjectHash {
    pub(crate) const fn user(self) -> Option<Hash> {
        match self {
            Self::User(hash) => Some(hash),
            Self::Token(_) => None,
        }
    }

    pub(crate) const fn token(self) -> Option<Hash> {
        match self {
            Self::Token(hash) => Some(hash),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl HasSubject for ResetPasswordRequest {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::User(&self.user))
    }
}

impl HasSubject for GetSecretQuestionRequest {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::User(&self.username))
    }
}

impl HasSubject for GenerateTokenResponse {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Token(&self.token))
    }
}

impl HasSubject for UpdatePasswordRequest {
    fn subject(&self) -> Option<Subject<'_>> {
        Some(Subject::Token(&self.token))
    }
}

impl HasSubject for ResetPasswordResponse {}
impl HasSubject for GetSecretQuestionResponse {}
impl HasSubject for GenerateTokenRequest {}
impl HasSubject for UpdatePasswordResponse {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AuditKey {
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        AuditKey(watch::channel(key).1)
    }

    /// What `printf TEXT | openssl dgst -sha256 -hmac KEY` prints, its first 32 digits.
    #[test]
    fn a_hash_can_be_made_by_openssl_too() {
        let key = key("0123456789abcdef0123456789abcdef");
        let user = key.hash(Subject::User("Robert.Zak "));
        let token = key.hash(Subject::Token("ba6b8cac-6738"));
        assert_eq!(
            user.user().unwrap().to_string(),
            "98eb5f9b93dc970ac7388a380e835d32"
        );
        assert_eq!(
            token.token().unwrap().to_string(),
            "7b0859b0f8b6cbd4084459d72ebe3e76"
        );
        assert!(user.token().is_none() && token.user().is_none());
    }

    #[test]
    fn a_hash_depends_on_the_key_and_on_what_it_stands_for() {
        let (one, other) = (key(&"1".repeat(32)), key(&"2".repeat(32)));
        let user = Subject::User("a");
        assert_ne!(one.hash(user), other.hash(user));
        assert_ne!(one.hash(user).user(), one.hash(Subject::Token("a")).token());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let shown = format!("{:?}", key("the-key"));
        assert!(!shown.contains("the-key"), "{shown}");
        let bytes = format!("{:?}", b"the-key");
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
