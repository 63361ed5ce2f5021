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

use std::time::Duration;

use axum::Router;
use http::HeaderValue;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tower::ServiceExt;
use tracing::warn;

use self::faults::Reset;

/// Serves the stand-in API, in that version, for as long as it is polled. If there is a key, calls
/// have to carry it.
pub(crate) async fn serve(
    listener: TcpListener,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: &str,
) {
    let api = api::routes(key, api_version);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, api.clone()))),
            Err(error) => {
                warn!(%error, "the sandbox cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, api: Router) {
    let respond = service_fn(async |request: Request<Incoming>| {
        let response = match api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        // hyper closes the connection of a service that fails.
        match response.extensions().get() {
            Some(Reset) => Err(Reset),
            None => Ok(response),
        }
    });
    // A connection breaks because the peer leaves, or by the fault that was asked for.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), respond)
        .await;
}
