//! The four steps, in the order in which a trader takes them. Each file is one rpc: its REST body, its fields, and what
//! becomes of the answer.

mod fields;

mod reset_password;

mod get_secret_question;

mod generate_token;

mod update_password;

pub(crate) use self::{
    generate_token::generate_token, get_secret_question::get_secret_question,
    reset_password::reset_password, update_password::update_password,
};

use crate::{
    contract::Rpc,
    envelope::{Answer, Refusal},
};

/// What an answer means to the rpc that it is for: the verdict without the call, for `explain` and for tests.
///
/// # Errors
///
/// Whatever the answer is if not a success.
pub(crate) fn verdict(rpc: Rpc, answer: &Answer, answer_given: bool) -> Result<(), Refusal> {
    match rpc {
        Rpc::ResetPassword => reset_password::verdict(answer, answer_given).map(drop),
        Rpc::GetSecretQuestion => get_secret_question::verdict(answer).map(drop),
        Rpc::GenerateToken => generate_token::verdict(answer).map(drop),
        Rpc::UpdatePassword => update_password::verdict(answer).map(drop),
    }
}
