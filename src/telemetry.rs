//! What operators see: logs on standard error, spans over OTLP. Nothing of a request or of an answer is ever part of it.

pub(crate) mod export;

pub(crate) mod logs;

pub(crate) mod spans;
