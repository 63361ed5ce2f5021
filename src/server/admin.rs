//! The admin listener, plain HTTP: `/livez` (the process runs), `/readyz` (calls can be served), `/metrics` for
//! Prometheus, and `/log-level`, which can be changed from this machine alone.

use std::time::Duration;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use prometheus::TEXT_FORMAT;
use tokio::time::timeout;

use super::{connection_limit::ConnectionPermit, listener::Stream};
use crate::{
    connect_info::{ConnectInfo, Transport},
    readiness::Readiness,
    telemetry::{logging::LogLevel, prometheus::Page},
};

/// The most connections at a time. A new one takes the place of the oldest.
pub(super) const MAX_CONNECTIONS: usize = 16;
/// How long a connection has for its one request and the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The longest log directives, in bytes.
const MAX_BODY: usize = 4096;

/// The data that the admin listener serves.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) readiness: Readiness,
    /// `None` if nothing is measured.
    pub(crate) metrics: Option<Page>,
    pub(crate) log_level: LogLevel,
}

/// Serves one request of a connection and closes it.
pub(super) async fn serve(routes: Router, stream: Stream, permit: ConnectionPermit) {
    let service = TowerToHyperService::new(routes);
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // How it ends is the peer's business.
        _ = timeout(TIMEOUT, connection) => {}
        () = permit.state.end.cancelled() => {}
    }
}

/// The routes of the admin listener. They take the [`ConnectInfo`] of the peer as an extension.
pub(super) fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", get(log_level).put(set_log_level))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    match admin.readiness.not_ready_reason() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        ),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics {
        Some(page) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], page.text()).into_response(),
        None => (StatusCode::NOT_FOUND, "OTEL_SDK_DISABLED is set\n").into_response(),
    }
}

async fn log_level(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log_level.directives())
}

async fn set_log_level(
    State(admin): State<Admin>,
    Extension(peer): Extension<ConnectInfo>,
    directives: String,
) -> (StatusCode, String) {
    if !is_local(peer.transport) {
        let hint = "the log level is changed from this machine alone\n";
        return (StatusCode::FORBIDDEN, hint.to_owned());
    }
    match admin.log_level.set(&directives) {
        Ok(()) => (StatusCode::OK, log_level(State(admin)).await),
        Err(expected) => (StatusCode::BAD_REQUEST, format!("log level {expected}\n")),
    }
}

/// Whether the peer is on this machine. IPv4-mapped IPv6 addresses count as IPv4.
fn is_local(peer: Transport) -> bool {
    match peer {
        Transport::Tcp { remote, .. } => remote.ip().to_canonical().is_loopback(),
        Transport::Unix => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[::ffff:10.0.0.1]:1", false),
            ("[fe80::1]:1", false),
        ] {
            let remote = address.parse().unwrap();
            let peer = Transport::Tcp {
                local: None,
                remote,
            };
            assert_eq!(is_local(peer), expected, "{address}");
        }
    }
}
