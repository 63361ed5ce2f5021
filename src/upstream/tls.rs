//! TLS to the API: its version, the certificates to trust, and the gateway's own certificate with its key.

use reqwest::{Certificate, ClientBuilder, Identity, tls::Version};
use rustls::RootCertStore;

use crate::{
    config::{ConfigError, Serve},
    followed_files::{Contents, SettingFile},
    tls::{certified_key, pem},
};

/// What the files hold.
pub(super) struct Tls {
    trusted: Vec<Certificate>,
    identity: Option<Identity>,
}

/// The files that are given, in this order.
pub(super) fn files(config: &Serve) -> Vec<SettingFile> {
    let certificates = "a PEM file of certificates";
    let key = "a PEM file of the private key that belongs to --upstream-cert";
    let options = [
        ("--upstream-ca", certificates, &config.upstream_ca),
        ("--upstream-cert", certificates, &config.upstream_cert),
        ("--upstream-key", key, &config.upstream_key),
    ];
    let given = options
        .into_iter()
        .filter_map(|(flag, takes, path)| Some(SettingFile::new(flag, takes, path.as_deref()?)));
    given.collect()
}

/// Reads the files.
///
/// # Errors
///
/// Which file cannot be used, and why.
pub(super) fn read(files: &[Contents<'_>]) -> Result<Tls, ConfigError> {
    // A certificate and its key come together.
    let (ca, pair) = files.split_at(files.len() % 2);
    let trusted: Result<Vec<_>, _> = ca.iter().map(trusted).collect();
    let identity = match pair {
        [certificates, key] => Some(identity(certificates, key)?),
        _ => None,
    };
    Ok(Tls {
        trusted: trusted?.into_iter().flatten().collect(),
        identity,
    })
}

impl Tls {
    /// Configures a client. It trusts the system's certificates too.
    pub(super) fn configure(self, client: ClientBuilder) -> ClientBuilder {
        let client = client
            .tls_version_min(Version::TLS_1_2)
            .tls_certs_merge(self.trusted);
        match self.identity {
            Some(identity) => client.identity(identity),
            None => client,
        }
    }
}

fn trusted(ca: &Contents<'_>) -> Result<Vec<Certificate>, ConfigError> {
    let certificates = pem::certificates(&ca.bytes).map_err(|why| ca.error(why))?;
    let trusted = certificates.into_iter().map(|certificate| {
        let trusted = Certificate::from_der(&certificate).ok();
        let is_usable = RootCertStore::empty().add(certificate).is_ok();
        let trusted = trusted.filter(|_| is_usable);
        trusted.ok_or_else(|| ca.error("a certificate in it cannot be used"))
    });
    trusted.collect()
}

/// The gateway's certificates and their key. reqwest's own errors do not say what is wrong with them.
fn identity(certificates: &Contents<'_>, key: &Contents<'_>) -> Result<Identity, ConfigError> {
    certified_key(certificates, key)?;
    // Either file may hold both.
    let certificates = sections(&certificates.bytes, |label| label == "CERTIFICATE");
    let keys = sections(&key.bytes, |label| label.ends_with("PRIVATE KEY"));
    let identity = Identity::from_pem((certificates + &keys).as_bytes());
    identity.map_err(|_| key.error("the key cannot be used"))
}

/// The sections of a PEM file whose label is wanted.
fn sections(pem: &[u8], is_wanted: fn(&str) -> bool) -> String {
    const BEGIN: &str = "-----BEGIN ";
    let text = String::from_utf8_lossy(pem);
    let sections = text.split(BEGIN).skip(1);
    let wanted = sections.filter(|it| it.split("-----").next().is_some_and(is_wanted));
    wanted.map(|it| format!("{BEGIN}{it}\n")).collect()
}
