//! Plain servers in Rust: tonic's own server, and a handler that sends the request and reads the JSON, with nothing
//! around it. No deadline, no limit, no key, no log, no metric, and an error is whatever comes.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{ExitCode, Stdio},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use clap::ValueEnum;
use futures_util::{FutureExt, future::BoxFuture};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest::Url;
use reset_gateway::proto::{GetSecretQuestionRequest, GetSecretQuestionResponse};
use serde::Deserialize;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::{api, bench::Bench, leash, process::Process, running::Started};

/// What a plain server asks the API with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    Reqwest,
    /// hyper-util's legacy client.
    Hyper,
    /// It does not ask: the floor below which no server can get.
    Tonic,
}

/// Starts one in a process of its own, and waits until it serves.
pub(crate) fn start(bench: &Bench, kind: Kind) -> Result<Started, String> {
    let mut command = leash::command(env::current_exe().unwrap());
    command
        .arg("peer")
        .arg(kind.to_possible_value().unwrap().get_name())
        .arg(bench.api.address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().parse().map_err(|_| "it does not start")?;
    Ok(Started {
        process,
        address,
        telemetry: None,
    })
}

/// Serves until it is killed, with one worker. Says where on standard output.
pub(crate) fn serve(kind: Kind, api: SocketAddr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap());
            let asks = Asks {
                client: AnyClient::new(kind),
                api: format!("http://{api}{}", api::PATH),
            };
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder()
                .add_service(Plain(Arc::new(asks)))
                .serve_with_incoming(incoming)
                .await
        })
        .unwrap();
    ExitCode::SUCCESS
}

/// The service.
#[derive(Clone)]
struct Plain(Arc<Asks>);

/// What asks the API.
struct Asks {
    client: AnyClient,
    api: String,
}

enum AnyClient {
    Reqwest(reqwest::Client),
    Hyper(Box<Client<HttpConnector, Empty<Bytes>>>),
    None,
}

impl AnyClient {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Reqwest => {
                // It wants one, even if it never speaks TLS.
                rustls::crypto::ring::default_provider()
                    .install_default()
                    .unwrap();
                Self::Reqwest(reqwest::Client::builder().build().unwrap())
            }
            Kind::Hyper => {
                Self::Hyper(Box::new(Client::builder(TokioExecutor::new()).build_http()))
            }
            Kind::Tonic => Self::None,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Model")]
    model: Option<String>,
}

impl Asks {
    async fn get_secret_question(
        &self,
        username: &str,
    ) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
        let url = || Url::parse_with_params(&self.api, [("username", username)]);
        let json = match &self.client {
            AnyClient::Reqwest(client) => client.get(url()?).send().await?.bytes().await?,
            AnyClient::Hyper(client) => {
                let response = client.get(url()?.as_str().parse()?).await?;
                response.into_body().collect().await?.to_bytes()
            }
            AnyClient::None => return Ok(Some(api::QUESTION.to_owned())),
        };
        Ok(serde_json::from_slice::<Answer>(&json)?.model)
    }
}

/// As tonic's generator writes it for an rpc, and with tonic's own codec: the project's generated server has another.
impl Service<http::Request<Body>> for Plain {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let rpc = self.clone();
        async move { Ok(Grpc::new(ProstCodec::default()).unary(rpc, request).await) }.boxed()
    }
}

impl NamedService for Plain {
    const NAME: &'static str = "autoshares.passwordreset.v1.PasswordResetService";
}

impl UnaryService<GetSecretQuestionRequest> for Plain {
    type Response = GetSecretQuestionResponse;
    type Future = BoxFuture<'static, Result<Response<Self::Response>, Status>>;

    fn call(&mut self, request: Request<GetSecretQuestionRequest>) -> Self::Future {
        let asks = Arc::clone(&self.0);
        async move {
            let answer = asks.get_secret_question(&request.get_ref().username).await;
            let secret_question = answer.map_err(|error| Status::internal(error.to_string()))?;
            Ok(Response::new(GetSecretQuestionResponse { secret_question }))
        }
        .boxed()
    }
}
