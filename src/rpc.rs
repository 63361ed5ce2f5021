//! The four rpcs and the REST call that each of them stands for, as the contract's `google.api.http` options say.

use std::{fmt, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What is percent-encoded in a query: everything but the unreserved characters of RFC 3986.
pub(crate) const PERCENT_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One rpc of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// Step 1.
    ResetPassword,
    /// Step 2.
    GetSecretQuestion,
    /// Step 3.
    GenerateToken,
    /// Step 4.
    UpdatePassword,
}

/// What the contract says about an rpc.
struct Binding {
    name: &'static str,
    full_name: &'static str,
    http_method: http::Method,
    http_path: &'static str,
    only_reads: bool,
}

// `API_VERSION`, `REQUEST_FIELDS` and `Rpc::binding`.
include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

impl Rpc {
    /// All of them, in the order in which a trader meets them.
    pub const ALL: [Self; 4] = [
        Self::ResetPassword,
        Self::GetSecretQuestion,
        Self::GenerateToken,
        Self::UpdatePassword,
    ];

    /// The rpc that a request path, `/package.Service/Method`, names.
    pub fn by_path(path: &str) -> Option<Self> {
        let full_name = path.strip_prefix('/')?;
        Self::ALL
            .into_iter()
            .find(|rpc| rpc.full_name() == full_name)
    }

    /// `Method`.
    pub const fn name(self) -> &'static str {
        self.binding().name
    }

    /// `package.Service/Method`, the form that the telemetry conventions use.
    pub const fn full_name(self) -> &'static str {
        self.binding().full_name
    }

    /// The method of the REST call.
    pub const fn http_method(self) -> &'static http::Method {
        &self.binding().http_method
    }

    /// The path of the REST call below `/v{API version}`.
    pub const fn http_path(self) -> &'static str {
        self.binding().http_path
    }

    /// Whether the call leaves everything as it was (`NO_SIDE_EFFECTS`), so that calling twice does no harm.
    pub const fn only_reads(self) -> bool {
        self.binding().only_reads
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rpc {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|rpc| rpc.name() == name)
            .ok_or_else(|| format!("takes one of {}", known()))
    }
}
