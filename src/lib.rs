//! A gRPC gateway in front of AutoShares' password-reset REST API.
//!
//! A call goes down on the left, and its response comes up on the right:
//!
//! ```text
//!                  gRPC caller
//!              call │       ▲ message, or status
//!                   ▼       │
//!   server          │       │  connections, TLS; around each call: policy, deadline, span, metrics, log line
//!                   ▼       │
//!   service         │       │◀─ status    the one table: error → gRPC status and details
//!                   ▼       │
//!   request_ids     │       │  deduplicates writes by their `request_id`
//!                   ▼       │
//!   steps           │       │◀─ envelope  every quirk of the API: response → message or error
//!                   ▼       │
//!   attempt_limiter │       │  steps 1 and 3 only: limits guesses and mails
//!                   ▼       │
//!   upstream        │       │  in-flight limit, circuit breaker, retries of reads
//!                   ▼       │
//!      HTTP request │       │ response
//!                   ▼       │
//!                   REST API
//! ```
//!
//! The modules are listed in reading order: the contract, the request path, the context of a call, the
//! response path, and then the supporting modules and the other commands.

// The contract.
pub mod proto;

pub mod rpc;

// The request path.
mod server;

mod service;

mod request_ids;

mod steps;

mod attempt_limiter;

mod upstream;

mod endpoint;

// The context of a call.
mod call;

mod connect_info;

mod identity;

mod policy;

mod app_key;

mod subject_hash;

// The response path.
mod envelope;

mod invisible;

mod user_name;

mod error;

mod status;

// Supporting modules.
mod telemetry;

mod readiness;

mod address;

mod followed_files;

mod tls;

pub mod config;

mod signals;

pub mod output;

mod banner;

pub mod run;

// The other commands.
mod commands;

mod sandbox;

#[cfg(feature = "self-signed")]
mod self_signed;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
