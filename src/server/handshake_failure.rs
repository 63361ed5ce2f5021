//! Why a TLS handshake failed, in the words of the log and the metrics. Clients learn little of it.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

/// The longest text of an error, in characters.
const MAX_ERROR: usize = 200;

/// A handshake that failed.
#[derive(Debug)]
pub(super) struct HandshakeFailure {
    /// The cause, which is one of [`RESULTS`](crate::telemetry::tls_metrics::RESULTS).
    pub(super) result: &'static str,
    pub(super) error: String,
}

impl HandshakeFailure {
    pub(super) fn too_slow() -> Self {
        Self::new("too_slow", "it took longer than 10 s")
    }

    pub(super) fn evicted() -> Self {
        Self::new("evicted", "a newer connection needed its place")
    }

    pub(super) fn no_alpn() -> Self {
        Self::new(
            "no_alpn",
            "the client did not ask for h2, the protocol of gRPC, by ALPN",
        )
    }

    pub(super) fn bad_identity(why: &str) -> Self {
        Self::new("bad_identity", why)
    }

    pub(super) fn of(error: &io::Error) -> Self {
        let source = error.get_ref().and_then(|error| error.downcast_ref());
        match source {
            Some(error) => Self::new(result(error), &error.to_string()),
            None => Self::new(io_result(error.kind()), &error.to_string()),
        }
    }

    fn new(result: &'static str, error: &str) -> Self {
        // The peer has a say in the text.
        let error = error.chars().take(MAX_ERROR).collect();
        Self { result, error }
    }
}

fn io_result(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind as K;
    match kind {
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => "closed",
        _ => "other",
    }
}

fn result(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "no_certificate",
        Error::InvalidCertificate(error) => certificate_result(error),
        Error::NoApplicationProtocol => "no_alpn",
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Clients of TLS 1.1 do not know this extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => "old_version",
        Error::PeerIncompatible(_) => "incompatible",
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "not_tls",
        Error::AlertReceived(_) => "refused_by_client",
        _ => "other",
    }
}

fn certificate_result(error: &CertificateError) -> &'static str {
    use CertificateError as E;
    match error {
        // A signature is bad if an authority has the name of the issuer, but is another one.
        E::UnknownIssuer | E::BadSignature => "unknown_ca",
        E::Expired | E::ExpiredContext { .. } => "expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "not_yet_valid",
        E::Revoked => "revoked",
        E::UnknownRevocationStatus => "unknown_revocation_status",
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => "crl_expired",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "wrong_purpose",
        _ => "bad_certificate",
    }
}
