//! A gRPC gateway in front of AutoShares' password-reset REST API.
//!
//! A call goes down on the left, and its response comes up on the right:
//!
//! ```text
//!                  gRPC caller
//!              call │       ▲ message, or status
//!                   ▼       │
//!   server          │       │  connections; around each call: deadline, span, metrics, log line
//!                   ▼       │
//!   service         │       │◀─ status    the one table: error → gRPC status and details
//!                   ▼       │
//!   steps           │       │◀─ envelope  every quirk of the API: response → message or error
//!                   ▼       │
//!   attempt_limiter │       │  steps 1 and 3 only: limits guessing
//!                   ▼       │
//!   upstream        │       │  in-flight limit, circuit breaker, retries of reads
//!                   ▼       │
//!      HTTP request │       │ response
//!                   ▼       │
//!                   REST API
//! ```
//!
//! The modules are listed in reading order: the contract, the way down, the way up, and then what
//! stands around it.

// The contract.
pub mod proto;

pub mod rpc;

// The way down.
mod server;

mod service;

mod steps;

mod attempt_limiter;

mod upstream;

mod endpoint;

// What a call carries.
mod call;

mod connect_info;

mod app_key;

// The way up.
mod envelope;

mod invisible;

mod error;

mod status;

// What stands around it.
mod telemetry;

mod readiness;

mod address;

pub mod config;

mod signals;

pub mod output;

mod banner;

pub mod run;

// The other commands.
mod explain;

mod probe;

mod sandbox;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
