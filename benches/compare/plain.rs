//! The plain server: tonic's own, with a handler that asks the API by reqwest and reads the JSON. It has no deadline, no
//! limit, no application key, no log, no metric; every error is INTERNAL.

use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{Client, Url};
use reset_gateway::proto::{GetSecretQuestionRequest, GetSecretQuestionResponse};
use serde::Deserialize;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::api::PATH;

/// Serves on one worker thread until it is killed.
pub(crate) fn serve(listen: SocketAddr, api: SocketAddr) {
    // reqwest needs one even without TLS.
    rustls::crypto::ring::default_provider()
        .install_default()
        .unwrap();
    let service = Plain {
        client: Client::builder().build().unwrap(),
        url: format!("http://{api}{PATH}"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = Server::builder().tcp_nodelay(true).add_service(service);
    runtime.block_on(server.serve(listen)).unwrap();
}

#[derive(Clone)]
struct Plain {
    client: Client,
    url: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Model")]
    model: Option<String>,
}

impl Plain {
    async fn ask(&self, username: &str) -> Result<Option<String>, Box<dyn std::error::Error>> {
        let url = Url::parse_with_params(&self.url, [("username", username)])?;
        let body = self.client.get(url).send().await?.bytes().await?;
        Ok(serde_json::from_slice::<Envelope>(&body)?.model)
    }
}

impl UnaryService<GetSecretQuestionRequest> for Plain {
    type Response = GetSecretQuestionResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<GetSecretQuestionRequest>) -> Self::Future {
        let plain = self.clone();
        async move {
            let answer = plain.ask(&request.get_ref().username).await;
            let secret_question = answer.map_err(|error| Status::internal(error.to_string()))?;
            Ok(Response::new(GetSecretQuestionResponse { secret_question }))
        }
        .boxed()
    }
}

// What tonic's generator writes, with tonic's own codec; the project's generated server has another one.

impl NamedService for Plain {
    const NAME: &'static str = "autoshares.passwordreset.v1.PasswordResetService";
}

impl Service<http::Request<Body>> for Plain {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        async move {
            Ok(Grpc::new(ProstCodec::default())
                .unary(service, request)
                .await)
        }
        .boxed()
    }
}
