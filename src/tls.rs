//! TLS for the listeners of gRPC calls: the certificate, its key, and what is demanded of clients, from files that are
//! followed.

mod certificate;

pub(crate) mod pem;

mod server_certificate;

mod server_config;

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use tokio::sync::watch;
use tracing::warn;

pub(crate) use self::server_certificate::certified_key;
use self::server_certificate::{CurrentCertificate, ServerCertificate};
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
    /// Which authority or revocation list is past its end.
    ends: Result<(), ConfigError>,
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
}

/// The files of the listeners' TLS. Those that say which clients are trusted are followed separately, so that a client loses
/// that trust even while the server's certificate cannot be used.
pub(crate) struct TlsFiles {
    certificate: FollowedFiles<Arc<ServerCertificate>>,
    server: FollowedFiles<Arc<ServerTls>>,
}

impl TlsFiles {
    /// Reads the files that the options name; `None` if the listeners speak no TLS.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used, by its setting.
    pub(crate) fn load(options: &TlsOptions) -> Result<Option<Self>, ConfigError> {
        let (Some(cert), Some(key)) = (&options.tls_cert, &options.tls_key) else {
            return Ok(None);
        };
        let files = pair(cert, key);
        let certificate =
            FollowedFiles::load("the certificate of the listeners", files, |files| {
                ServerCertificate::read(files).map(Arc::new)
            })?;
        let (settings, files) = (options.clone(), files_of_trust(options));
        let current = Arc::new(CurrentCertificate(certificate.subscribe()));
        let server = FollowedFiles::load("the trust in clients", files, move |files| {
            let server = server_config::build(&settings, files, Arc::clone(&current) as _)?;
            // Only a warning, so that the other changes take effect: an authority may have been taken out.
            if let Err(error) = &server.ends {
                warn!(%error, "an authority or a revocation list of clients is out of date");
            }
            Ok(Arc::new(server))
        })?;
        server.subscribe().borrow().ends.clone()?;
        Ok(Some(Self {
            certificate,
            server,
        }))
    }

    /// Returns a function that says when the current server's certificate ends, in seconds since 1970.
    pub(crate) fn not_after(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let certificate = self.certificate.subscribe();
        move || certificate.borrow().not_after_seconds()
    }

    /// Follows the files: see [`FollowedFiles::follow`].
    pub(crate) fn follow(
        self,
        reload: watch::Receiver<()>,
        on_reload: impl Fn(bool) + Clone + Send + 'static,
    ) -> watch::Receiver<Arc<ServerTls>> {
        self.certificate.follow(reload.clone(), on_reload.clone());
        self.server.follow(reload, on_reload)
    }
}

fn pair(cert: &Path, key: &Path) -> Vec<SettingFile> {
    let takes_cert = "a PEM file of the server's certificate and its intermediates";
    let takes_key = "a PEM file of the private key that belongs to --tls-cert";
    vec![
        SettingFile::new("--tls-cert", takes_cert, cert),
        SettingFile::new("--tls-key", takes_key, key),
    ]
}

/// The files that say which clients are trusted, in the order of [`server_config::build`].
fn files_of_trust(options: &TlsOptions) -> Vec<SettingFile> {
    let takes_ca = "a PEM file of the authorities that clients' certificates come from";
    let takes_crl = "a PEM file of certificate revocation lists";
    let ca = options.tls_client_ca.as_deref();
    let crl = options.tls_client_crl.as_deref();
    let ca = ca.map(|path| SettingFile::new("--tls-client-ca", takes_ca, path));
    let crl = crl.map(|path| SettingFile::new("--tls-client-crl", takes_crl, path));
    ca.into_iter().chain(crl).collect()
}
