//! TLS for the listeners of gRPC calls: the certificate, its key, and what is demanded of clients, from files that are
//! followed.

mod certificate;

pub(crate) mod pem;

mod server_config;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

pub(crate) use self::certificate::not_after;
use crate::{
    config::{ConfigError, TlsOptions},
    followed_files::{FollowedFiles, SettingFile},
};

/// What new connections are served with.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// Checks the certificates of clients; `None` if none are asked for.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// When the server's certificate ends.
    pub(crate) not_after: SystemTime,
}

impl ServerTls {
    /// Whether a chain of certificates that was trusted before still is.
    pub(crate) fn trusts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.verifier, chain.split_first())
        else {
            return true;
        };
        let verified = verifier.verify_client_cert(leaf, intermediates, UnixTime::now());
        verified.is_ok()
    }

    /// When the server's certificate ends, in seconds since 1970.
    pub(crate) fn not_after_seconds(&self) -> u64 {
        let since_epoch = self.not_after.duration_since(UNIX_EPOCH);
        since_epoch.as_ref().map_or(0, Duration::as_secs)
    }
}

/// Reads the files that the options name; `None` if the listeners speak no TLS.
///
/// # Errors
///
/// The first file that cannot be used, by its setting.
pub(crate) fn open(
    options: &TlsOptions,
) -> Result<Option<FollowedFiles<Arc<ServerTls>>>, ConfigError> {
    let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) else {
        return Ok(None);
    };
    let file = |flag, takes, path: &std::path::PathBuf| SettingFile {
        flag,
        takes,
        path: path.clone(),
    };
    let mut files = vec![
        file(
            "--tls-cert",
            "a PEM file of the server's certificate and its intermediates",
            cert,
        ),
        file(
            "--tls-key",
            "a PEM file of the private key that belongs to --tls-cert",
            key,
        ),
    ];
    if let Some(ca) = &options.tls_client_ca {
        let takes = "a PEM file of the authorities that clients' certificates come from";
        files.push(file("--tls-client-ca", takes, ca));
    }
    if let Some(crl) = &options.tls_client_crl {
        let takes = "a PEM file of certificate revocation lists";
        files.push(file("--tls-client-crl", takes, crl));
    }
    let settings = options.clone();
    FollowedFiles::open("TLS of the listeners", files, move |contents| {
        server_config::build(&settings, contents).map(Arc::new)
    })
    .map(Some)
}
