//! The small commands. Each makes one text and ends; `run` has the two that serve, `serve` and `sandbox`.

pub(crate) mod authz;
pub(crate) mod explain;
pub(crate) mod probe;
