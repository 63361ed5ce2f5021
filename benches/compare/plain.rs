//! The plain server: tonic's own, with a handler that asks the API by reqwest and reads the JSON. It has no deadline, no
//! limit, no application key, no log, no metric; every error is INTERNAL.

use std::{convert::Infallible, error::Error, net::SocketAddr};

use reqwest::{Client, Url};
use reset_gateway::proto::{GetSecretQuestionRequest, GetSecretQuestionResponse};
use serde::Deserialize;
use tonic::{Request, Response, Status, body::Body, server::Grpc, transport::Server};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::lab::PATH;

/// Serves on one worker thread until it is killed.
#[tokio::main(worker_threads = 1)]
pub(crate) async fn serve(listen: SocketAddr, api: SocketAddr) {
    // reqwest needs one even without TLS.
    let tls = rustls::crypto::ring::default_provider();
    tls.install_default().unwrap();
    let client = Client::builder().build().unwrap();
    let url = format!("http://{api}{PATH}");
    let handler = service_fn(move |request| respond(client.clone(), url.clone(), request));
    // As tonic's generator writes it, but for the path and with tonic's own codec.
    let rpc = service_fn(move |request: http::Request<Body>| {
        let handler = handler.clone();
        async {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok::<_, Infallible>(grpc.unary(handler, request).await)
        }
    });
    let server = Server::builder().tcp_nodelay(true);
    server.serve(listen, rpc).await.unwrap();
}

async fn respond(
    client: Client,
    url: String,
    request: Request<GetSecretQuestionRequest>,
) -> Result<Response<GetSecretQuestionResponse>, Status> {
    let secret_question = ask(&client, &url, &request.get_ref().username)
        .await
        .map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(GetSecretQuestionResponse { secret_question }))
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Model")]
    model: Option<String>,
}

async fn ask(client: &Client, url: &str, username: &str) -> Result<Option<String>, Box<dyn Error>> {
    let url = Url::parse_with_params(url, [("username", username)])?;
    let body = client.get(url).send().await?.bytes().await?;
    Ok(serde_json::from_slice::<Envelope>(&body)?.model)
}
