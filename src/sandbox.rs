//! A stand-in for the REST API that behaves as its documentation says, quirks included, for teams that build and test
//! without an account.
//!
//! It has two traders: `robert.zak` with a secret question (answer: `Peterson`), and `jane.doe`, e-mail
//! `hello@autoshares.com`, without one. Codes are "mailed" to the log and to `GET /sandbox/mailbox/{user}`.
//!
//! A fault is provoked by its name in the first field of any step, such as the user `fault:html-502`: see [`faults`].

mod accounts;

mod api;

mod faults;

use http::HeaderValue;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};
use tower::ServiceExt;
use tracing::warn;

use self::faults::Reset;

/// Serves the stand-in API, in that version, for as long as it is polled. With a key, calls have to carry it.
pub(crate) async fn serve(
    listener: TcpListener,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: &str,
) {
    let api = api::routes(key, api_version);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "the sandbox cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let api = api.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let api = api.clone();
            async move {
                let answer = api
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|never| match never {});
                // hyper closes the connection of a service that fails.
                if answer.extensions().get::<Reset>().is_some() {
                    Err(Reset)
                } else {
                    Ok(answer)
                }
            }
        });
        tokio::spawn(async move {
            // A connection that breaks is the peer's business, or the fault that was asked for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
