//! The server's certificate and its key, from files that are followed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    Error,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;

use super::{certificate::check_server, pem};
use crate::{config::ConfigError, followed_files::Contents};

const UNSUPPORTED_KEY: &str = "the key is of a kind that is not supported; a key can be ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";

/// A certificate with its intermediates and its private key.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl ServerCertificate {
    /// Reads the file of the certificate and that of the key.
    pub(super) fn read(files: &[Contents<'_>]) -> Result<Self, ConfigError> {
        let (cert_file, key_file) = (&files[0], &files[1]);
        let key = certified_key(cert_file, key_file)?;
        let not_after = check_server(&key.cert[0]).map_err(|why| cert_file.error(why))?;
        Ok(Self {
            key: Arc::new(key),
            not_after,
        })
    }

    /// When the certificate ends, in seconds since 1970.
    pub(super) fn not_after_seconds(&self) -> u64 {
        let since_epoch = self.not_after.duration_since(UNIX_EPOCH);
        since_epoch.as_ref().map_or(0, Duration::as_secs)
    }
}

/// Reads a certificate with its intermediates and its private key.
///
/// # Errors
///
/// Which of the files cannot be used, and why.
pub(crate) fn certified_key(
    cert: &Contents<'_>,
    key: &Contents<'_>,
) -> Result<CertifiedKey, ConfigError> {
    let chain = pem::certificates(&cert.bytes).map_err(|why| cert.error(why))?;
    let private_key = pem::private_key(&key.bytes).map_err(|why| key.error(why))?;
    let paired = CertifiedKey::from_der(chain, private_key, &ring::default_provider());
    paired.map_err(|error| match error {
        Error::InvalidCertificate(_) => cert.error("its first certificate cannot be used"),
        Error::InconsistentKeys(_) => key.error("the key belongs to another certificate"),
        _ => key.error(UNSUPPORTED_KEY),
    })
}

/// Gives each new connection the current certificate.
#[derive(Debug)]
pub(super) struct CurrentCertificate(pub(super) watch::Receiver<Arc<ServerCertificate>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().key))
    }
}
