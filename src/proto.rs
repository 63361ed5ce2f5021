//! The contract as Rust: the code that `build.rs` generates from `proto/`, and a `Debug` that shows no values.
//!
//! The proto file documents the messages and the service.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated"
)]

use std::fmt;

tonic::include_proto!("autoshares.passwordreset.v1");

/// The contract as an encoded `FileDescriptorSet` with options and comments, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("password_reset");

/// Implements `Debug` for messages. It shows which fields are set, but no values.
macro_rules! redacted_debug {
    ($($message:ident { $($field:ident),* })*) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Naming every field keeps this list complete: a new field does not compile without it.
                let Self { $($field),* } = self;
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($field), &$field.redacted()))*
                    .finish()
            }
        })*
    };
}

redacted_debug! {
    ResetPasswordRequest { user, secret_question_answer }
    ResetPasswordResponse {}
    GetSecretQuestionRequest { username }
    GetSecretQuestionResponse { secret_question }
    GenerateTokenRequest { code }
    GenerateTokenResponse { token }
    UpdatePasswordRequest { token, password, password_confirmation }
    UpdatePasswordResponse {}
}

/// What `Debug` shows in place of a value.
const REDACTED: fmt::Arguments<'static> = format_args!("[redacted]");

trait Redact {
    fn redacted(&self) -> impl fmt::Debug;
}

impl Redact for String {
    fn redacted(&self) -> impl fmt::Debug {
        REDACTED
    }
}

impl Redact for Option<String> {
    fn redacted(&self) -> impl fmt::Debug {
        self.as_ref().map(|_| REDACTED)
    }
}
