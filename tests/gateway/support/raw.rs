//! Calls without a gRPC client, which would check what it sends and have timers of its own.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};

use crate::support::{gateway::Gateway, over_tls::open, status::summary};

/// Sends one HTTP/2 request as it is, gives the status and the headers, trailers among them.
pub async fn send(
    gateway: &Gateway,
    request: http::request::Builder,
    body: Vec<u8>,
) -> (StatusCode, HeaderMap) {
    exchange(gateway, request, Some(body)).await
}

/// The same with a request whose body never comes.
pub async fn begin(gateway: &Gateway, request: http::request::Builder) -> (StatusCode, HeaderMap) {
    exchange(gateway, request, None).await
}

async fn exchange(
    gateway: &Gateway,
    request: http::request::Builder,
    body: Option<Vec<u8>>,
) -> (StatusCode, HeaderMap) {
    let stream = open(gateway).await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (response, mut sender) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    if let Some(body) = body {
        // It may be refused before it is sent.
        let _ = sender.send_data(Bytes::from(body), true);
    }
    let response = response.await.unwrap();
    let (status, mut headers) = (response.status(), response.headers().clone());
    let mut body = response.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control()
            .release_capacity(chunk.unwrap().len())
            .unwrap();
    }
    headers.extend(body.trailers().await.unwrap().unwrap_or_default());
    (status, headers)
}

/// A gRPC request, or nearly one.
pub fn post(path: &str, content_type: &str) -> http::request::Builder {
    Request::post(format!("http://gateway{path}"))
        .header("content-type", content_type)
        .header("te", "trailers")
}

/// The gRPC frame around a message.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The status in a response that consists of headers alone.
pub fn status_of(headers: &HeaderMap) -> String {
    summary(&tonic::Status::from_header_map(headers).unwrap())
}
