//! Clients that connect to the gateway over TLS.

use std::{io, sync::Arc};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion, pki_types::ServerName,
    },
};
use tonic::transport::{Channel, Endpoint, Error};

use super::certificates::{Authority, Leaf};

/// The settings of a client.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

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
        let mut roots = RootCertStore::empty();
        roots.add(trusted.der()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(leaf.chain.clone(), leaf.private_key())
                .unwrap(),
        };
        Self(Arc::new(config)).with_alpn(&["h2"])
    }

    /// The same with these protocols.
    pub fn with_alpn(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Self(Arc::new(config))
    }

    /// Connects. With TLS 1.3 a client that is refused sees that only when it reads.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name, stream).await
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
}
