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

/// A certificate, those between it and its root's, and its key.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl ServerCertificate {
    /// Reads the file of the certificate and that of the key.
    pub(super) fn read(files: &[Contents<'_>]) -> Result<Self, ConfigError> {
        let (cert_file, key_file) = (&files[0], &files[1]);
        let in_cert_file = |why| cert_file.error(why);
        let chain = pem::certificates(&cert_file.bytes).map_err(in_cert_file)?;
        let not_after = check_server(&chain[0]).map_err(in_cert_file)?;
        let key = pem::private_key(&key_file.bytes).map_err(|why| key_file.error(why))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| pair_error(&error, cert_file, key_file))?;
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

/// What is wrong with the pair of a certificate and a key.
fn pair_error(error: &Error, cert: &Contents<'_>, key: &Contents<'_>) -> ConfigError {
    match error {
        Error::InvalidCertificate(_) => cert.error("its first certificate cannot be used"),
        error => key.error(pem::key_problem(error)),
    }
}

/// Shows each new connection the certificate of that moment.
#[derive(Debug)]
pub(super) struct CurrentCertificate(pub(super) watch::Receiver<Arc<ServerCertificate>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().key))
    }
}
