//! What operators see: logs on standard error, spans and metrics over OTLP and at `/metrics`. Nothing of a request or of
//! an answer is ever part of it.
//!
//! ```text
//!   call ──▶ observer ──▶ spans    one SERVER span, and below it one CLIENT span an attempt
//!                    ├──▶ metrics  duration, answers by reason, …
//!                    └──▶ logs     one line
//! ```

pub(crate) mod call_log;

mod request_outcome;

mod traceparent;

pub(crate) mod spans;

pub(crate) mod metrics;

pub(crate) mod prometheus;

pub(crate) mod logging;

mod log_format;

pub(crate) mod log_writer;

pub(crate) mod method;

mod delivery;

mod batches;

pub(crate) mod room;

pub(crate) mod rejected;

mod otlp;

pub(crate) mod exporters;
