//! Black-box tests: the real program, a fake API that records what it receives, a generated client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "one crate")]
#![allow(clippy::too_many_lines, reason = "a test may be a table of many cases")]

mod support;

mod steps;

mod statuses;

mod sandbox;

mod server;

mod app_key;

mod addresses;

mod unix_authority;

mod connections;

mod hostile;

mod stream_isolation;

mod open_files;

mod admin;

mod probe;

mod tls;

mod self_signed;

mod tls_files;

mod tls_trust;

mod overload;

mod shutdown;

mod request_ids;
mod resets;
mod restart;

mod reload;

mod upstream_tls;

mod faults;

mod retries;

mod breaker;

mod guessing;

mod authorization;

mod traces;

mod metrics;

mod logs;

mod security_events;

mod export;

mod settings;

mod documents;
mod explain;

mod contract;

mod neighbours;
