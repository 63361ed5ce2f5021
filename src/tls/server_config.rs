//! Makes rustls' configuration for a server from the files that say which clients are trusted.

use std::sync::Arc;

use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion, WantsVerifier,
    crypto::ring,
    server::{
        NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    version::{TLS12, TLS13},
};

use super::{
    ServerTls,
    certificate::{check_authority, check_authority_end, check_revocation_list_end},
    pem,
};
use crate::{
    config::{ClientAuth, ConfigError, TlsOptions, TlsVersion},
    followed_files::Contents,
};

/// gRPC alone, so a client that speaks HTTP/1.1 is refused during the handshake.
const ALPN: &[u8] = b"h2";

/// Reads the file of the clients' authorities and that of their revocation lists, as far as there are any.
pub(super) fn build(
    options: &TlsOptions,
    files: &[Contents<'_>],
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<ServerTls, ConfigError> {
    let verifier = files
        .first()
        .map(|ca| verifier(options, ca, files.get(1)))
        .transpose()?;
    let builder = builder(options.min_version());
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A client that resumes a session is not verified again: its certificate might have ended, or be revoked.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls {
        config: Arc::new(config),
        verifier,
        ends: check_ends(files),
    })
}

/// Checks that no authority and no revocation list is past its end.
fn check_ends(files: &[Contents<'_>]) -> Result<(), ConfigError> {
    if let Some(ca) = files.first() {
        let authorities = pem::certificates(&ca.bytes);
        authorities
            .and_then(|all| all.iter().try_for_each(check_authority_end))
            .map_err(|why| ca.error(why))?;
    }
    if let Some(crl) = files.get(1) {
        let lists = pem::revocation_lists(&crl.bytes);
        lists
            .and_then(|all| all.iter().try_for_each(check_revocation_list_end))
            .map_err(|why| crl.error(why))?;
    }
    Ok(())
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
        let lists = pem::revocation_lists(&crl.bytes).map_err(|why| crl.error(why))?;
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

fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in pem::certificates(pem)? {
        check_authority(&certificate)?;
        let added = store.add(certificate);
        added.map_err(|_| "a certificate in it cannot be used".to_owned())?;
    }
    Ok(store)
}
