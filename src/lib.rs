//! A gRPC gateway in front of the password-reset REST API of AutoShares.
//!
//! A call goes down the left side and its answer comes up the right one:
//!
//! ```text
//!   gRPC caller
//!     │                                        ▲
//!     ▼                                        │
//!   server   listeners, layer around each call │
//!     │                                        │
//!     ▼                                        │
//!   service  four one-line handlers ──────▶ status   the one table: error → gRPC status
//!     │                                        ▲
//!     ▼                                        │
//!   steps    one file per rpc ────────────▶ error    by who has to act
//!     │                                        ▲
//!     ▼                                        │
//!   rest     the one HTTP client ─────────▶ envelope every quirk of the API
//!     │                                        ▲
//!     ▼                                        │
//!   REST API ──────────────────────────────────┘
//! ```
//!
//! The modules below are in reading order: the contract, the way of a call, its way back, and then what stands around it.

pub mod proto;

mod codec;

pub mod rpc;

mod service;

mod steps;

mod upstream;

mod endpoint;

mod call;

mod attempt_limiter;

mod connect_info;

mod app_key;

mod envelope;

mod invisible;

mod error;

mod status;

mod server;

mod address;

mod readiness;

mod telemetry;

pub mod config;

pub mod run;

mod banner;

mod explain;

mod probe;

mod sandbox;

mod signals;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
