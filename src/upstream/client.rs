//! The HTTP client and its settings.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::{Certificate, Client, redirect};

use super::request::JSON;

const USER_AGENT: &str = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
/// No compression.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How long idle connections are kept. Apache and Node.js close them after five seconds. The gateway
/// closes first, so that the API does not close a connection just as a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Makes the client. It speaks only HTTP/1.1, where a connection carries one call at a time and
/// nothing is sent twice. It follows no redirect, which could carry a password elsewhere, and uses
/// no proxy that the environment names.
///
/// Over TLS it trusts the system's certificates and those in `ca`. Without TLS it does not read
/// them, to start faster.
///
/// # Errors
///
/// If there are no certificates to trust.
pub(crate) fn client(
    is_over_tls: bool,
    connect_timeout: Duration,
    ca: Vec<Certificate>,
) -> Result<Client, reqwest::Error> {
    let client = if is_over_tls {
        Client::builder().tls_certs_merge(ca)
    } else {
        Client::builder().tls_certs_only([])
    };
    client
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
        .build()
}
