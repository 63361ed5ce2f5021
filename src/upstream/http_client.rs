//! The HTTP client and its settings.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, ClientBuilder, redirect};

use super::{request::JSON, tls};
use crate::{
    config::{ConfigError, Serve},
    followed_files::FollowedFiles,
};

const USER_AGENT: &str = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
/// No compression.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How long idle connections are kept. Apache and Node.js close them after five seconds. The gateway
/// closes first, so that the API does not close a connection just as a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Makes the HTTP client for the API, and a new one when the files of its TLS change. A client that is replaced finishes its
/// requests. Without TLS, the system's certificates are not read, to start faster.
///
/// # Errors
///
/// The option whose file cannot be used, or that there are no certificates to trust.
pub(crate) fn http_client(config: &Serve) -> Result<FollowedFiles<Client>, ConfigError> {
    let connect_timeout = config.connect_timeout;
    let has_tls = config.is_upstream_https();
    FollowedFiles::load("TLS to the API", tls::files(config), move |files| {
        let (tls, builder) = (tls::read(files)?, builder(connect_timeout));
        let builder = match has_tls {
            true => tls.configure(builder),
            false => builder.tls_certs_only([]),
        };
        let expected =
            "takes a PEM file of certificates, and must be given where the system has none";
        let built = builder.build();
        built.map_err(|_| ConfigError::new("--upstream-ca", expected))
    })
}

/// A client that speaks only HTTP/1.1, where a connection carries one call at a time and nothing is sent twice. It follows
/// no redirect, which could carry a password elsewhere, and uses no proxy that the environment names.
fn builder(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .default_headers(HeaderMap::from_iter([
            (header::ACCEPT, JSON),
            // Intermediaries may compress for a client that says nothing.
            (header::ACCEPT_ENCODING, IDENTITY),
        ]))
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .user_agent(USER_AGENT)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_private_key() {
        // Whoever installs it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = own.signing_key.serialize_pem();
        let pem = format!("{}{key}", own.cert.pem());
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).unwrap();
        let client = builder(Duration::from_secs(1)).tls_certs_only([]);
        let client = client.identity(identity).build().unwrap();
        let shown = format!("{:?}", tokio::sync::watch::channel(client).1);
        assert!(
            !shown.contains("PRIVATE") && !shown.contains("key"),
            "{shown}"
        );
    }
}
