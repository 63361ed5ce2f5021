//! Makes rustls' configuration for a server from the contents of the files.

use std::sync::Arc;

use rustls::{
    ConfigBuilder, Error, RootCertStore, ServerConfig, SupportedProtocolVersion, WantsVerifier,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{
    ServerTls,
    certificate::{check_authority, check_revocation_list, check_server},
    pem,
};
use crate::{
    config::{ClientAuth, TlsOptions, TlsVersion},
    followed_files::Fault,
};

/// The places of the files.
const CERT: usize = 0;
const KEY: usize = 1;
const CLIENT_CA: usize = 2;
const CLIENT_CRL: usize = 3;

/// gRPC alone, so a client that speaks HTTP/1.1 is refused during the handshake.
const ALPN: &[u8] = b"h2";

pub(super) fn build(options: &TlsOptions, files: &[Vec<u8>]) -> Result<ServerTls, Fault> {
    let chain = pem::certificates(&files[CERT]).map_err(in_file(CERT))?;
    let key = pem::private_key(&files[KEY]).map_err(in_file(KEY))?;
    let not_after = check_server(&chain[0]).map_err(in_file(CERT))?;
    let verifier = files
        .get(CLIENT_CA)
        .map(|ca| verifier(options, ca, files.get(CLIENT_CRL)));
    let verifier = verifier.transpose()?;
    let builder = builder(options.min_version());
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(key_fault)?;
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
    ca: &[u8],
    crl: Option<&Vec<u8>>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let authorities = authorities(ca).map_err(in_file(CLIENT_CA))?;
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
        // Go's clients send no certificate if the hints do not name its issuer, which may be an intermediate.
        .clear_root_hint_subjects();
    if options.client_auth() == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    if let Some(crl) = crl {
        let lists = pem::revocation_lists(crl).map_err(in_file(CLIENT_CRL))?;
        let mut checked = lists.iter().map(check_revocation_list);
        checked
            .try_for_each(|checked| checked)
            .map_err(in_file(CLIENT_CRL))?;
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    let built = builder.build();
    built.map_err(|_| {
        (
            CLIENT_CRL,
            "a revocation list in it cannot be used".to_owned(),
        )
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

/// What is wrong with the pair of a certificate and a key.
fn key_fault(error: Error) -> Fault {
    match error {
        Error::InconsistentKeys(_) => (KEY, "the key belongs to another certificate".to_owned()),
        Error::InvalidCertificate(_) => (CERT, "its first certificate cannot be used".to_owned()),
        _ => {
            let usable =
                "a key can be ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits";
            (
                KEY,
                format!("the key is of a kind that is not supported; {usable}"),
            )
        }
    }
}

fn in_file(file: usize) -> impl Fn(String) -> Fault {
    move |why| (file, why)
}
