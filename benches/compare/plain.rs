//! Plain servers in Rust: tonic's own server, and a handler that sends the request and reads the JSON, with nothing
//! around it. No deadline, no limit, no key, no log, no metric, and an error is whatever comes.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{ExitCode, Stdio},
};

use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest::Url;
use reset_gateway::proto::{
    GenerateTokenRequest, GenerateTokenResponse, GetSecretQuestionRequest, GetSecretQuestionResponse,
    ResetPasswordRequest, ResetPasswordResponse, UpdatePasswordRequest, UpdatePasswordResponse,
    password_reset_service_server::{PasswordResetService, PasswordResetServiceServer},
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

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
pub(crate) fn start(bench: &Bench, kind: Kind) -> Started {
    let mut command = leash::command(env::current_exe().unwrap());
    command
        .arg("peer")
        .arg(kind.to_possible_value().unwrap().get_name())
        .arg(bench.api.address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Started { process, address: line.trim().parse().unwrap(), telemetry: None }
}

/// Serves until it is killed, with one worker. Says where on standard output.
pub(crate) fn serve(kind: Kind, api: SocketAddr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("{}", listener.local_addr().unwrap());
            let plain = Plain { client: AnyClient::new(kind), api: format!("http://{api}{}", api::PATH) };
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder().add_service(PasswordResetServiceServer::new(plain)).serve_with_incoming(incoming).await
        })
        .unwrap();
    ExitCode::SUCCESS
}

struct Plain {
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
            Kind::Reqwest => Self::Reqwest(reqwest::Client::builder().build().unwrap()),
            Kind::Hyper => Self::Hyper(Box::new(Client::builder(TokioExecutor::new()).build_http())),
            Kind::Tonic => Self::None,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Model")]
    model: Option<String>,
}

impl Plain {
    async fn ask(&self, username: &str) -> Result<Option<String>, Box<dyn Error + Send + Sync>> {
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

#[tonic::async_trait]
impl PasswordResetService for Plain {
    async fn get_secret_question(
        &self,
        request: Request<GetSecretQuestionRequest>,
    ) -> Result<Response<GetSecretQuestionResponse>, Status> {
        let answer = self.ask(&request.get_ref().username).await;
        let secret_question = answer.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(GetSecretQuestionResponse { secret_question }))
    }

    async fn reset_password(
        &self,
        _: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn generate_token(
        &self,
        _: Request<GenerateTokenRequest>,
    ) -> Result<Response<GenerateTokenResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_password(
        &self,
        _: Request<UpdatePasswordRequest>,
    ) -> Result<Response<UpdatePasswordResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
