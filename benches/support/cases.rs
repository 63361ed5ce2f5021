//! What is measured of the gateway's own parts, each under a name: the verdict on an answer of the API's, the status that
//! a failure becomes, and a whole call.

mod answers;
mod api;
mod calls;

use std::hint::black_box;

use reset_gateway::{
    contract::Rpc::{GenerateToken, GetSecretQuestion, ResetPassword, UpdatePassword},
    parts::{Answer, Failure},
};
use tonic::Code;

use calls::Call;

/// The program's, or the counts would be another program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One of them.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    part: Part,
}

enum Part {
    Verdict(Answer),
    Status(Failure),
    Call(Call),
}

impl Case {
    /// Does it once.
    pub(crate) fn run(&self) {
        match &self.part {
            Part::Verdict(answer) => drop(black_box(black_box(answer).verdict())),
            Part::Status(failure) => drop(black_box(black_box(failure).status())),
            Part::Call(call) => call.make(),
        }
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    vec![
        verdict(
            "verdict/reset_password",
            Code::Ok,
            answers::success_of(ResetPassword),
        ),
        verdict(
            "verdict/get_secret_question",
            Code::Ok,
            answers::success_of(GetSecretQuestion),
        ),
        verdict(
            "verdict/generate_token",
            Code::Ok,
            answers::success_of(GenerateToken),
        ),
        verdict(
            "verdict/update_password",
            Code::Ok,
            answers::success_of(UpdatePassword),
        ),
        verdict(
            "verdict/refused",
            Code::FailedPrecondition,
            answers::refused(),
        ),
        verdict(
            "verdict/validation",
            Code::InvalidArgument,
            answers::validation(),
        ),
        verdict("verdict/html", Code::Unavailable, answers::html()),
        verdict(
            "verdict/key_rejected",
            Code::Internal,
            answers::key_rejected(),
        ),
        verdict("verdict/cut_off", Code::Internal, answers::cut_off()),
        verdict(
            "verdict/long_text",
            Code::FailedPrecondition,
            answers::long_text(),
        ),
        status("status/plain", Code::Unavailable, &answers::html()),
        status("status/text", Code::FailedPrecondition, &answers::refused()),
        status(
            "status/fields",
            Code::InvalidArgument,
            &answers::validation(),
        ),
        call(
            "call/reset_password",
            Call::reset_password(Some("Peterson"), Code::Ok),
        ),
        call(
            "call/get_secret_question",
            Call::get_secret_question("robert.zak", Code::Ok),
        ),
        call("call/generate_token", Call::generate_token(Code::Ok)),
        call("call/update_password", Call::update_password(Code::Ok)),
        call(
            "call/refused",
            Call::reset_password(None, Code::FailedPrecondition),
        ),
        call(
            "call/invalid",
            Call::get_secret_question("", Code::InvalidArgument),
        ),
    ]
}

fn verdict(name: &'static str, expected: Code, answer: Answer) -> Case {
    let code = answer
        .verdict()
        .map_or_else(|failure| failure.status().code(), |()| Code::Ok);
    assert_eq!(code, expected, "{name}");
    Case {
        name,
        part: Part::Verdict(answer),
    }
}

fn status(name: &'static str, expected: Code, answer: &Answer) -> Case {
    let failure = answer.verdict().unwrap_err();
    assert_eq!(failure.status().code(), expected, "{name}");
    Case {
        name,
        part: Part::Status(failure),
    }
}

fn call(name: &'static str, call: Call) -> Case {
    Case {
        name,
        part: Part::Call(call),
    }
}
