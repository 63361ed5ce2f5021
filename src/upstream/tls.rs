//! TLS to the API: its version, the certificates to trust, and the gateway's own certificate with its key.

use std::path::PathBuf;

use reqwest::{Certificate, ClientBuilder, Identity, tls::Version};
use rustls::{
    Error, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;

use crate::{
    config::{ConfigError, Serve},
    followed_files::FollowedFiles,
};

pub(super) const CA: &str = "--upstream-ca";
const CERT: &str = "--upstream-cert";
const KEY: &str = "--upstream-key";

/// What `--upstream-ca` takes if no certificates can be trusted.
pub(super) const NO_CERTIFICATES: &str =
    "takes a PEM file of certificates, and must be given where the system has none";
/// What is wrong with a file.
type Problem = &'static str;

const UNREADABLE: Problem = "a certificate in it cannot be read";

/// The files of TLS to the API. There are none without TLS.
pub(super) struct Files {
    has_tls: bool,
    has_ca: bool,
    pub(super) paths: Vec<PathBuf>,
}

impl Files {
    pub(super) fn of(config: &Serve) -> Self {
        let files = [
            &config.upstream_ca,
            &config.upstream_cert,
            &config.upstream_key,
        ];
        let paths = files.into_iter().flatten().cloned();
        let has_tls = config.is_upstream_https();
        Self {
            has_tls,
            has_ca: config.upstream_ca.is_some(),
            paths: paths.filter(|_| has_tls).collect(),
        }
    }

    /// Configures TLS with the contents of the files. The system's certificates are trusted too.
    ///
    /// # Errors
    ///
    /// The option whose file cannot be used, and why.
    pub(super) fn configure(
        &self,
        client: ClientBuilder,
        contents: &[Vec<u8>],
    ) -> Result<ClientBuilder, String> {
        if !self.has_tls {
            return Ok(client.tls_certs_only([]));
        }
        let (ca, pair) = contents.split_at(usize::from(self.has_ca));
        let trusted: Result<Vec<_>, Problem> = ca.iter().map(|pem| trusted(pem)).collect();
        let trusted = trusted.map_err(|why| format!("{CA}: {why}"))?;
        let client = client
            .tls_version_min(Version::TLS_1_2)
            .tls_certs_merge(trusted.into_iter().flatten());
        let [certificates, key] = pair else {
            return Ok(client);
        };
        let identity = identity(certificates, key);
        Ok(client.identity(identity.map_err(|why| format!("{CERT} and {KEY}: {why}"))?))
    }
}

/// Checks each file by itself, so that the error names its option, and then that the certificate and the key belong together.
///
/// # Errors
///
/// The option whose file cannot be used, and why.
pub(super) fn check(config: &Serve) -> Result<(), ConfigError> {
    let certificates = "takes a PEM file of certificates";
    let key = "takes a PEM file with the private key of --upstream-cert";
    if let Some(ca) = &config.upstream_ca {
        check_files(CA, certificates, &[ca], |pem| trusted(&pem[0]).map(drop))?;
    }
    if let (Some(cert_file), Some(key_file)) = (&config.upstream_cert, &config.upstream_key) {
        check_files(CERT, certificates, &[cert_file], |pem| {
            chain(&pem[0]).map(drop)
        })?;
        check_files(KEY, key, &[key_file], |pem| private_key(&pem[0]).map(drop))?;
        check_files(KEY, key, &[cert_file, key_file], |pem| {
            identity(&pem[0], &pem[1]).map(drop)
        })?;
    }
    Ok(())
}

fn check_files(
    option: &'static str,
    expected: &str,
    paths: &[&PathBuf],
    parse: fn(&[Vec<u8>]) -> Result<(), Problem>,
) -> Result<(), ConfigError> {
    let paths = paths.iter().map(|path| path.to_path_buf()).collect();
    let opened = FollowedFiles::open(option, paths, move |files| Ok(parse(files)?));
    let in_option = |why| ConfigError::new(option, format!("{expected} ({why})"));
    opened.map(drop).map_err(in_option)
}

/// The certificates of a PEM file that are to be trusted.
fn trusted(pem: &[u8]) -> Result<Vec<Certificate>, Problem> {
    let trusted = certificates(pem)?.into_iter().map(|certificate| {
        let is_readable = RootCertStore::empty().add(certificate.clone()).is_ok();
        let trusted = Certificate::from_der(&certificate).ok();
        trusted.filter(|_| is_readable)
    });
    let trusted: Option<Vec<_>> = trusted.collect();
    trusted.ok_or(UNREADABLE)
}

/// The certificates of a PEM file that are to be shown: the gateway's own comes first.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let chain = certificates(pem)?;
    let is_readable = |it| EndEntityCert::try_from(it).is_ok();
    match chain.iter().all(is_readable) {
        true => Ok(chain),
        false => Err(UNREADABLE),
    }
}

/// The only private key of a PEM file. Rustls' own errors say neither that a key is encrypted nor which ones it takes.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    let sections = key_sections(pem);
    let section = match sections.as_slice() {
        [] => return Err("no private key in it"),
        [section] => section,
        _ => return Err("more than one private key in it"),
    };
    if section.contains("ENCRYPTED") {
        return Err("the key in it is encrypted");
    }
    let key = PrivateKeyDer::from_pem_slice(section.as_bytes());
    let key = key.map_err(|_| "the key in it cannot be read")?;
    let is_supported = ring::sign::any_supported_type(&key).is_ok();
    is_supported
        .then_some(key)
        .ok_or("the key in it is none of RSA with 2048 to 4096 bits, P-256, P-384 and Ed25519")
}

/// The gateway's certificates and their key.
fn identity(certificates: &[u8], key: &[u8]) -> Result<Identity, Problem> {
    let (chain, private_key) = (chain(certificates)?, private_key(key)?);
    CertifiedKey::from_der(chain, private_key, &ring::default_provider()).map_err(|error| {
        match error {
            Error::InconsistentKeys(_) => "the key belongs to another certificate",
            _ => "the key cannot be used",
        }
    })?;
    // Either file may hold both.
    let pem = [certificate_sections(certificates), key_sections(key)].concat();
    Identity::from_pem(pem.concat().as_bytes()).map_err(|_| "the key cannot be used")
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let pem = certificate_sections(pem).concat();
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    match certificates.collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if certificates.is_empty() => Err("no certificate in it"),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(UNREADABLE),
    }
}

fn certificate_sections(pem: &[u8]) -> Vec<String> {
    sections(pem, |label| label == "CERTIFICATE")
}

fn key_sections(pem: &[u8]) -> Vec<String> {
    sections(pem, |label| label.ends_with("PRIVATE KEY"))
}

/// The sections of a PEM file whose label is wanted.
fn sections(pem: &[u8], is_wanted: fn(&str) -> bool) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN ";
    let text = String::from_utf8_lossy(pem);
    let sections = text.split(BEGIN).skip(1);
    let wanted = sections.filter(|it| it.split("-----").next().is_some_and(is_wanted));
    wanted.map(|it| format!("{BEGIN}{it}\n")).collect()
}
