//! The four rpcs and the REST call behind each of them. `tests/gateway/contract.rs` compares them with the contract.

use std::str::FromStr;

use clap::ValueEnum;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The API version that the contract is written against.
pub const API_VERSION: &str = "1.0";

/// The names of all request fields.
pub const REQUEST_FIELDS: [&str; 8] = [
    "user",
    "secret_question_answer",
    "username",
    "code",
    "token",
    "password",
    "password_confirmation",
    "request_id",
];

/// The characters that a query percent-encodes: all but the unreserved ones of RFC 3986.
pub(crate) const PERCENT_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The releases of the API, which differ in step 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum UpstreamRelease {
    /// The one that AutoShares documents.
    AutoShares,
    /// Newer releases of the platform behind it, ETNA Trader.
    Etna,
}

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

const FULL_NAMES: [&str; 4] = [
    "autoshares.passwordreset.v1.PasswordResetService/ResetPassword",
    "autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion",
    "autoshares.passwordreset.v1.PasswordResetService/GenerateToken",
    "autoshares.passwordreset.v1.PasswordResetService/UpdatePassword",
];

impl Rpc {
    /// All rpcs, in the order of the steps.
    pub const ALL: [Self; 4] = [
        Self::ResetPassword,
        Self::GetSecretQuestion,
        Self::GenerateToken,
        Self::UpdatePassword,
    ];

    /// The rpc of a request path, `/package.Service/Method`.
    pub fn by_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix('/')?;
        Self::ALL.into_iter().find(|rpc| rpc.full_name() == name)
    }

    /// `Method`.
    pub fn name(self) -> &'static str {
        let name = self.full_name().rsplit('/').next();
        name.expect("a split text has a last part")
    }

    /// `package.Service/Method`, as OpenTelemetry's conventions name an rpc.
    pub const fn full_name(self) -> &'static str {
        FULL_NAMES[self as usize]
    }

    /// The HTTP method of the REST call.
    pub const fn http_method(self) -> &'static Method {
        match self {
            Self::ResetPassword | Self::GenerateToken => &Method::POST,
            Self::GetSecretQuestion => &Method::GET,
            Self::UpdatePassword => &Method::PUT,
        }
    }

    /// The path of the REST call, below `/v{API version}`.
    pub const fn http_path(self, release: UpstreamRelease) -> &'static str {
        match (self, release) {
            (Self::ResetPassword, _) => "/users/password/reset",
            (Self::GetSecretQuestion, _) => "/users/password/secret-question",
            (Self::GenerateToken, UpstreamRelease::AutoShares) => "/users/password/reset/code",
            (Self::GenerateToken, UpstreamRelease::Etna) => "/users/identifiers/reset/code",
            (Self::UpdatePassword, _) => "/users/passwords/reset/",
        }
    }

    /// Whether the call changes nothing (`NO_SIDE_EFFECTS`), so that it is safe to send it twice.
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::GetSecretQuestion)
    }
}

impl FromStr for Rpc {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let rpc = Self::ALL.into_iter().find(|rpc| rpc.name() == name);
        rpc.ok_or_else(|| format!("takes one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
