//! The options that say who may connect, and who may call what.

#![expect(
    missing_docs,
    reason = "in --help, a text on a struct would replace the text of its command"
)]

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Args, Clone, Debug)]
pub struct TlsOptions {
    /// PEM file of the certificate, and its intermediates, that TCP listeners for gRPC calls serve TLS with; like all
    /// files of these options it is reloaded when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// PEM file of the authorities that clients' certificates come from; asks clients for a certificate
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients must send a certificate, required or optional [default: required]
    #[arg(long, value_name = "WHETHER")]
    pub tls_client_auth: Option<ClientAuth>,
    /// PEM file of the authorities' certificate revocation lists
    #[arg(long, value_name = "FILE")]
    pub tls_client_crl: Option<PathBuf>,
    /// Oldest version of TLS for clients, 1.2 or 1.3 [default: 1.3]
    #[arg(long, value_name = "VERSION")]
    pub tls_min_version: Option<TlsVersion>,
}

#[derive(Args, Clone, Debug)]
pub struct SelfSigned {
    /// Directory, empty or not there yet, for certificates that are made at the start, to try TLS with --sandbox
    #[cfg_attr(
        feature = "self-signed",
        arg(long, value_name = "DIRECTORY", conflicts_with = "tls_cert")
    )]
    #[cfg_attr(not(feature = "self-signed"), arg(skip))]
    pub tls_self_signed: Option<PathBuf>,
    /// The certificate and the key that were made for a client.
    #[arg(skip)]
    pub client: Option<(PathBuf, PathBuf)>,
}

impl SelfSigned {
    /// Whether there is a directory. A build without the feature has no such option.
    pub(crate) fn is_given(&self) -> bool {
        self.tls_self_signed.is_some()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientAuth {
    #[default]
    Required,
    Optional,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    #[value(name = "1.2")]
    V1_2,
    #[default]
    #[value(name = "1.3")]
    V1_3,
}

impl TlsOptions {
    pub(crate) fn client_auth(&self) -> ClientAuth {
        self.tls_client_auth.unwrap_or_default()
    }

    pub(crate) fn min_version(&self) -> TlsVersion {
        self.tls_min_version.unwrap_or_default()
    }
}

#[derive(Args, Debug)]
pub struct AuthzOptions {
    /// File that says who may call what, in the format of gRFC A43; it is reloaded when it changes. Without it, every
    /// caller may make every call
    #[arg(long, value_name = "FILE")]
    pub authz_policy: Option<PathBuf>,
    /// Whether calls that the policy does not allow are refused (enforce), or only logged and counted (audit)
    #[arg(long, value_name = "MODE", default_value = "enforce")]
    pub authz_mode: AuthzMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthzMode {
    Enforce,
    Audit,
}
