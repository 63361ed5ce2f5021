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

/// Implements `Debug` for messages. It shows no field, because every field is private.
macro_rules! private_debug {
    ($($message:ident),*) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        })*
    };
}

private_debug!(ResetPasswordRequest, ResetPasswordResponse);
private_debug!(GetSecretQuestionRequest, GetSecretQuestionResponse);
private_debug!(GenerateTokenRequest, GenerateTokenResponse);
private_debug!(UpdatePasswordRequest, UpdatePasswordResponse);
