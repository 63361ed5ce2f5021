//! A self-signed certificate.

use std::sync::Arc;

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
        version::TLS12,
    },
};

/// A self-signed certificate for 127.0.0.1 and its key, as PEM, and what accepts connections with it.
pub struct SelfSigned {
    pub certificate: String,
    pub key: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl SelfSigned {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
            key_der: made.signing_key.serialize_der(),
        }
    }

    /// Accepts anybody.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder().with_no_client_auth();
        Self::accepting(
            config
                .with_single_cert(vec![self.der.clone()], self.private_key())
                .unwrap(),
        )
    }

    /// Accepts anybody who speaks TLS 1.2.
    pub fn acceptor_of_tls_1_2(&self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_protocol_versions(&[&TLS12]);
        let config = config.with_no_client_auth();
        Self::accepting(
            config
                .with_single_cert(vec![self.der.clone()], self.private_key())
                .unwrap(),
        )
    }

    /// Accepts whoever shows that certificate.
    pub fn acceptor_of(&self, client: &Self) -> TlsAcceptor {
        self.acceptor_of_any(&[client])
    }

    /// Accepts whoever shows one of those certificates.
    pub fn acceptor_of_any(&self, clients: &[&Self]) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        for client in clients {
            roots.add(client.der.clone()).unwrap();
        }
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Self::accepting(
            config
                .with_single_cert(vec![self.der.clone()], self.private_key())
                .unwrap(),
        )
    }

    fn accepting(mut config: ServerConfig) -> TlsAcceptor {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key_der.clone()).into()
    }
}
