//! The admin listener, plain HTTP for probes: `/livez` (the process runs) and `/readyz` (calls can be answered).

use axum::{Router, http::StatusCode, routing::get};

use crate::readiness::Readiness;

/// The routes of the admin listener.
pub(super) fn routes(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(async move || ready(&readiness)))
}

fn ready(readiness: &Readiness) -> (StatusCode, String) {
    match readiness.trouble() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {trouble}\n")),
    }
}
