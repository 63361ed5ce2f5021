//! Makes rustls' configuration for a server from the contents of the files.

use std::sync::Arc;

use rustls::{
    ConfigBuilder, Error, RootCertStore, ServerConfig, SupportedProtocolVersion, WantsVerifier,
    crypto::ring,
    pki_types::CertificateRevocationListDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    ServerTls,
    certificate::{check_authority, check_revocation_list, check_server},
    pem,
};
use crate::{
    config::{ClientAuth, ConfigError, TlsOptions, TlsVersion},
    followed_files::Contents,
};

/// The places of the files.
const CERT: usize = 0;
const KEY: usize = 1;
const CLIENT_CA: usize = 2;
const CLIENT_CRL: usize = 3;

/// gRPC alone, so a client that speaks HTTP/1.1 is refused during the handshake.
const ALPN: &[u8] = b"h2";

pub(super) fn build(
    options: &TlsOptions,
    files: &[Contents<'_>],
) -> Result<ServerTls, ConfigError> {
    let (cert_file, key_file) = (&files[CERT], &files[KEY]);
    let in_cert_file = |why| cert_file.error(why);
    let chain = pem::certificates(&cert_file.bytes).map_err(in_cert_file)?;
    let not_after = check_server(&chain[0]).map_err(in_cert_file)?;
    let key = pem::private_key(&key_file.bytes).map_err(|why| key_file.error(why))?;
    let verifier = files
        .get(CLIENT_CA)
        .map(|ca| verifier(options, ca, files.get(CLIENT_CRL)));
    let verifier = verifier.transpose()?;
    let builder = builder(options.min_version());
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| pair_error(&error, cert_file, key_file))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A client that resumes a session is not verified again: its certificate might have ended, or be revoked.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls {
        config: Arc::new(config),
        verifier,
        not_after,
    })
}

fn builder(min: TlsVersion) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let versions: &[&SupportedProtocolVersion] = match min {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("ring has cipher suites for both versions")
}

fn verifier(
    options: &TlsOptions,
    ca: &Contents<'_>,
    crl: Option<&Contents<'_>>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let authorities = authorities(&ca.bytes).map_err(|why| ca.error(why))?;
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
        // Go's clients send no certificate if the hints do not name its issuer, which may be an intermediate.
        .clear_root_hint_subjects();
    if options.client_auth() == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    if let Some(crl) = crl {
        let lists = revocation_lists(&crl.bytes).map_err(|why| crl.error(why))?;
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    // Only a revocation list can be at fault: there is an authority.
    let built = builder.build();
    built.map_err(|_| {
        crl.unwrap_or(ca)
            .error("a revocation list in it cannot be used")
    })
}

fn revocation_lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists = pem::revocation_lists(pem)?;
    lists.iter().try_for_each(check_revocation_list)?;
    Ok(lists)
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in pem::certificates(pem)? {
        check_authority(&certificate)?;
        let added = store.add(certificate);
        added.map_err(|_| "a certificate in it cannot be used".to_owned())?;
    }
    Ok(store)
}

/// What is wrong with the pair of a certificate and a key.
fn pair_error(error: &Error, cert: &Contents<'_>, key: &Contents<'_>) -> ConfigError {
    match error {
        Error::InvalidCertificate(_) => cert.error("its first certificate cannot be used"),
        error => key.error(pem::key_problem(error)),
    }
}
