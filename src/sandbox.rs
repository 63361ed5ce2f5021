//! A stand-in for the REST API that behaves as documented, quirks included, for teams that build and
//! test without an account.
//!
//! It has two traders: `robert.zak`, whose secret question has the answer `Peterson`, and `jane.doe`
//! (`hello@autoshares.com`), who has no secret question. Codes are "mailed" to the log and to
//! `GET /sandbox/mailbox/{user}`.
//!
//! The first field of a step can name a fault, such as the user `fault:html-502`: see [`faults`].

mod accounts;
mod api;
mod faults;

use http::HeaderValue;
use tokio::{net::TcpListener, sync::watch};

/// Serves the stand-in API, in that version, for as long as it is polled. If there is a key, calls
/// have to carry it.
pub(crate) async fn serve(
    listener: TcpListener,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: &str,
) {
    let _ = axum::serve(listener, api::routes(key, api_version)).await;
}
