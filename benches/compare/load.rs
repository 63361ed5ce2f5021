//! h2load: its arguments and its output. A load counts only if every call got a response of the right length.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use prost::Message;
use reset_gateway::proto::{GetSecretQuestionRequest, GetSecretQuestionResponse};

use crate::{
    api::{self, PATH, QUESTION, USERNAME},
    lab::Lab,
    programs::command,
};

/// gRPC's prefix of a message: a flag and the length.
const PREFIX: usize = 5;
const RPC: &str = "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion";

/// Calls made as fast as they are answered.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) streams_per_connection: u32,
    pub(crate) calls: u32,
}

/// Loads a gRPC server; returns the calls per second.
pub(crate) fn run(lab: &Lab, server: SocketAddr, load: Load) -> f64 {
    let message = GetSecretQuestionRequest {
        username: USERNAME.to_owned(),
    };
    let mut request = vec![0, 0, 0, 0, u8::try_from(message.encoded_len()).unwrap()];
    message.encode(&mut request).unwrap();
    let file = lab.scratch.path().join("request");
    fs::write(&file, request).unwrap();

    let mut command = h2load(lab, load);
    command
        .arg("-d")
        .arg(file)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(format!("http://{server}{RPC}"));
    let response = GetSecretQuestionResponse {
        secret_question: Some(QUESTION.to_owned()),
    };
    requests_per_second(&mut command, load, PREFIX + response.encoded_len())
}

/// Loads the API directly; returns the requests per second.
pub(crate) fn run_directly(lab: &Lab, load: Load) -> f64 {
    let mut command = h2load(lab, load);
    let address = lab.api.address;
    command.args([
        "--h1",
        &format!("http://{address}{PATH}?username={USERNAME}"),
    ]);
    requests_per_second(&mut command, load, api::body().len())
}

fn h2load(lab: &Lab, load: Load) -> Command {
    let mut command = command(&lab.tools.h2load);
    command
        .arg(format!("-n{}", load.calls))
        .arg(format!("-c{}", load.connections))
        .arg(format!("-m{}", load.streams_per_connection))
        .args(["--connection-inactivity-timeout", "10s"])
        .stdout(Stdio::piped());
    command
}

/// Runs h2load and checks every response. h2load judges by the HTTP status, which a gRPC error leaves at 200; but an
/// error has another length.
fn requests_per_second(command: &mut Command, load: Load, response_length: usize) -> f64 {
    let output = command.output().expect("h2load runs");
    let output = String::from_utf8(output.stdout).unwrap();
    let succeeded = number_before(&output, "succeeded");
    assert_eq!(succeeded, Some(f64::from(load.calls)), "{output}");
    let bytes = load.calls as usize * response_length;
    assert_eq!(
        number_before(&output, "data"),
        Some(bytes as f64),
        "{output}"
    );
    number_before(&output, "req/s").unwrap()
}

/// The number in front of the first such word: `in 1.02s, 39215.69 req/s` or `(1234) data`.
fn number_before(output: &str, word: &str) -> Option<f64> {
    let words: Vec<_> = output.split_whitespace().collect();
    let at = words
        .iter()
        .position(|next| next.trim_end_matches(',') == word)?;
    words[at - 1].trim_matches(['(', ')']).parse().ok()
}
