//! h2load: its arguments and its output. A load counts only if every call got a response of the right length.

use std::process::{Command, Stdio};

use crate::lab::{BODY, Lab, PATH, QUESTION, USERNAME};

const RPC: &str = "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion";

/// Makes that many calls to a gRPC server, as fast as they are answered; returns the calls per second.
pub(crate) fn run(lab: &Lab, server: &str, streams: u32, calls: u32) -> f64 {
    lab.write("request", grpc_message(USERNAME));
    let mut command = h2load(lab, streams, calls);
    command.args(["-d", "request", "-H", "content-type: application/grpc"]);
    command.args(["-H", "te: trailers", &format!("{server}{RPC}")]);
    requests_per_second(&mut command, calls, grpc_message(QUESTION).len())
}

/// Asks the API directly, one request at a time; returns the requests per second.
pub(crate) fn run_directly(lab: &Lab, calls: u32) -> f64 {
    let url = format!("http://{}{PATH}?username={USERNAME}", lab.api);
    let mut command = h2load(lab, 1, calls);
    command.args(["--h1", &url]);
    requests_per_second(&mut command, calls, BODY.len())
}

/// The request and the response have this form: gRPC's prefix (a flag and the length), and a first field that is a string.
fn grpc_message(text: &str) -> Vec<u8> {
    const FIRST_FIELD: u8 = 0x0a;
    let length = u8::try_from(text.len()).unwrap();
    let head = [0, 0, 0, 0, length + 2, FIRST_FIELD, length];
    [&head, text.as_bytes()].concat()
}

/// Spreads the streams over up to 8 connections.
fn h2load(lab: &Lab, streams: u32, calls: u32) -> Command {
    let connections = streams.min(8);
    let mut command = lab.command("h2load");
    command
        .arg(format!("-n{calls}"))
        .arg(format!("-c{connections}"))
        .arg(format!("-m{}", streams / connections))
        .args(["--connection-inactivity-timeout", "10s"])
        .stdout(Stdio::piped());
    command
}

/// Runs h2load and checks every response. h2load judges by the HTTP status, which a gRPC error leaves at 200; but an
/// error has another length.
fn requests_per_second(command: &mut Command, calls: u32, response_length: usize) -> f64 {
    let output = command.output().expect("h2load runs");
    let output = String::from_utf8(output.stdout).unwrap();
    let number_before = |word| number_before(&output, word).expect(&output);
    let bytes = calls as usize * response_length;
    assert_eq!(number_before("succeeded"), f64::from(calls));
    assert_eq!(number_before("data"), bytes as f64, "{output}");
    number_before("req/s")
}

/// The number in front of the first such word: `in 1.02s, 39215.69 req/s` or `(1234) data`.
fn number_before(output: &str, word: &str) -> Option<f64> {
    let (before, _) = output.split_once(&format!(" {word}"))?;
    let number = before.split_whitespace().last()?;
    number.trim_matches(['(', ')']).parse().ok()
}
