//! The contract as Rust: what `build.rs` makes of `proto/`. The documentation is the proto file's.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::too_many_lines,
    clippy::str_to_string,
    reason = "generated"
)]

tonic::include_proto!("autoshares.passwordreset.v1");

// `Debug` for the messages with private fields.
include!(concat!(env!("OUT_DIR"), "/redacted_debug.rs"));

/// The contract as an encoded `FileDescriptorSet`, options and comments included: what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("password_reset");
