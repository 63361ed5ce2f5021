//! The admin listener, plain HTTP: `/livez` (the process runs), `/readyz` (calls can be answered), `/metrics` for
//! Prometheus, and `/log-level`, which can be changed from this machine alone.

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    readiness::Readiness,
    telemetry::{logging::LogLevel, prometheus::Page},
};

/// The longest log directives, in bytes.
const MAX_BODY: usize = 4096;

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) readiness: Readiness,
    /// Nothing if nothing is measured.
    pub(crate) metrics: Option<Page>,
    pub(crate) log_level: LogLevel,
}

/// The routes of the admin listener.
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
        Some(trouble) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {trouble}\n"),
        ),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics {
        Some(page) => ([(header::CONTENT_TYPE, Page::content_type())], page.text()).into_response(),
        None => (StatusCode::NOT_FOUND, "OTEL_SDK_DISABLED is set\n").into_response(),
    }
}

async fn log_level(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log_level.directives())
}

async fn set_log_level(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    directives: String,
) -> (StatusCode, String) {
    if !is_this_machine(peer.ip()) {
        return (
            StatusCode::FORBIDDEN,
            "the log level is changed from this machine alone\n".to_owned(),
        );
    }
    match admin.log_level.set(&directives) {
        Ok(()) => (
            StatusCode::OK,
            format!("{}\n", admin.log_level.directives()),
        ),
        Err(takes) => (StatusCode::BAD_REQUEST, format!("log level {takes}\n")),
    }
}

/// Whether the peer is on this machine, also where IPv4 comes in IPv6's clothes.
fn is_this_machine(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_this_machine(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}
