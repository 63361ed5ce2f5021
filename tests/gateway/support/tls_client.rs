//! Clients that connect to the gateway over TLS.

use std::{io, sync::Arc};

use hyper_util::rt::TokioIo;
use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use tonic::transport::{Channel, Endpoint, Error};

use super::{
    certificates::{Authority, Leaf},
    gateway::{Call, Plain},
};

/// The settings of a client.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    /// Whose certificate is expected.
    server: ServerName<'static>,
}

impl TlsClient {
    /// A client that trusts the authority, and sends the certificate if it has one.
    pub fn new(trusted: &Authority, certificate: Option<&Leaf>) -> Self {
        Self::with_versions(trusted, certificate, ALL_VERSIONS)
    }

    /// The same with these versions of TLS.
    pub fn with_versions(
        trusted: &Authority,
        certificate: Option<&Leaf>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let certificate = certificate.map(|leaf| (leaf.chain.clone(), leaf.private_key()));
        Self::build(trusted.der(), certificate, versions)
    }

    /// A client with PEM files: of the authority, and of the certificate and its key if it has one.
    pub fn from_files(trusted: &str, certificate: Option<(&str, &str)>) -> Self {
        let read = |path| CertificateDer::from_pem_file(path).unwrap();
        let certificate = certificate.map(|(certificate, key)| {
            let key = PrivateKeyDer::from_pem_file(key).unwrap();
            (vec![read(certificate)], key)
        });
        Self::build(read(trusted), certificate, ALL_VERSIONS)
    }

    fn build(
        trusted: CertificateDer<'static>,
        certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        let this = Self {
            config: Arc::new(config),
            server: "localhost".try_into().unwrap(),
        };
        this.with_alpn(&["h2"])
    }

    /// The same with these protocols.
    pub fn with_alpn(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Self {
            config: Arc::new(config),
            server: self.server.clone(),
        }
    }

    /// The same for a server of that name.
    pub fn to(self, server: &str) -> Self {
        let server = server.to_owned().try_into().unwrap();
        Self { server, ..self }
    }

    /// Connects. With TLS 1.3 a client that is refused sees that only when it reads.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        self.secure(TcpStream::connect(address).await?).await
    }

    /// Makes TLS on a connection.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.server.clone(), stream).await
    }

    /// A channel that connects so.
    pub async fn channel(&self, address: &str) -> Result<Channel, Error> {
        let (this, target) = (self.clone(), address.to_owned());
        let connector = tower::service_fn(move |_| {
            let (this, target) = (this.clone(), target.clone());
            async move { this.connect(&target).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connector).await
    }
    /// Makes a call on a connection of its own; whether the gateway answers it.
    pub async fn is_served(&self, address: &str) -> bool {
        let Ok(channel) = self.channel(address).await else {
            return false;
        };
        let mut client = PasswordResetServiceClient::new(channel);
        match Call::Question.make(&mut client, Plain).await {
            Ok(()) => true,
            // Only the gateway's own statuses have details.
            Err(status) => !status.details().is_empty(),
        }
    }
}
