//! The HTTP client and its settings.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::{Client, redirect};

use super::request::JSON;
use crate::config::Serve;

const USER_AGENT: &str = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
/// No compression.
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// How long idle connections are kept. Apache and Node.js close them after five seconds. The gateway
/// closes first, so that the API does not close a connection just as a request is sent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Makes the client for the API. It speaks only HTTP/1.1, where a connection carries one call at a time and
/// nothing is sent twice. It follows no redirect, which could carry a password elsewhere, and uses
/// no proxy that the environment names.
///
/// Over TLS it trusts the system's certificates and those of `--upstream-ca`. Without TLS it does not read
/// them, to start faster.
///
/// # Errors
///
/// If there are no certificates to trust.
pub(crate) fn client(config: &Serve) -> Result<Client, reqwest::Error> {
    let url = config.upstream_url.as_ref();
    let certificates = config.upstream_ca.clone().unwrap_or_default();
    let client = match url.is_some_and(|url| url.scheme() == "https") {
        true => Client::builder().tls_certs_merge(certificates),
        false => Client::builder().tls_certs_only([]),
    };
    client
        .default_headers(HeaderMap::from_iter([
            (header::ACCEPT, JSON),
            // Intermediaries may compress for a client that says nothing.
            (header::ACCEPT_ENCODING, IDENTITY),
        ]))
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .user_agent(USER_AGENT)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .build()
}
