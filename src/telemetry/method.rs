//! The name of a call's rpc in spans, metrics and logs.

use crate::rpc::Rpc;

/// The rpc of a call as telemetry names it: one of five, whatever a caller writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    /// One of ours.
    Known(Rpc),
    /// One that does not exist.
    Other,
}

impl Method {
    /// `package.Service/Method`, or the conventions' word for what is not known.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Known(rpc) => rpc.full_name(),
            Self::Other => "_OTHER",
        }
    }
}
