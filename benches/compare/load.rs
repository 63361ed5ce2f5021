//! h2load: what it is told, and what it tells.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use prost::Message;
use reset_gateway::proto::{GetSecretQuestionRequest, GetSecretQuestionResponse};

use crate::{
    api::{self, QUESTION, USERNAME},
    bench::Bench,
    leash,
    turns::PARTS,
};

/// gRPC's frame around a message: a flag and the length.
const FRAME: usize = 5;
const REQUEST: &str = "request";
const LOG: &str = "h2load.log";

/// Calls that are made as fast as they are answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    /// On each connection.
    pub(crate) streams: u32,
    pub(crate) calls: u32,
}

impl Load {
    /// What comes before it and is not measured.
    pub(crate) fn warm_up(self) -> Self {
        self.part()
    }

    /// A part of it.
    pub(crate) fn part(self) -> Self {
        Self {
            calls: self.calls / PARTS,
            ..self
        }
    }
}

/// Writes the request to a file, as h2load wants it.
pub(crate) fn write_request(scratch: &Path) {
    let message = GetSecretQuestionRequest {
        username: USERNAME.to_owned(),
    }
    .encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    fs::write(
        scratch.join(REQUEST),
        [&[0], length.as_slice(), &message].concat(),
    )
    .unwrap();
}

/// Loads a gRPC server. Gives the calls per second.
///
/// # Errors
///
/// If not every call got an answer of the right length.
pub(crate) fn run(bench: &Bench, server: SocketAddr, load: Load) -> Result<f64, String> {
    let output = succeeded(&mut grpc(bench, server, load), load.calls, answer_length())?;
    Ok(word_before(&output, "req/s").unwrap())
}

/// Calls a gRPC server, one call at a time. Gives how long each took, in seconds.
///
/// # Errors
///
/// If not every call got an answer of the right length.
pub(crate) fn one_at_a_time(
    bench: &Bench,
    server: SocketAddr,
    calls: u32,
) -> Result<Vec<f64>, String> {
    let load = Load {
        connections: 1,
        streams: 1,
        calls,
    };
    timed(
        bench,
        &mut grpc(bench, server, load),
        calls,
        answer_length(),
    )
}

/// Asks the API directly, one request at a time. Gives how long each took, in seconds.
pub(crate) fn directly(bench: &Bench, calls: u32) -> Vec<f64> {
    let mut command = h2load(
        bench,
        Load {
            connections: 1,
            streams: 1,
            calls,
        },
    );
    command.arg("--h1").arg(bench.api.url());
    timed(bench, &mut command, calls, api::answer().len()).unwrap()
}

fn grpc(bench: &Bench, server: SocketAddr, load: Load) -> Command {
    let mut command = h2load(bench, load);
    command
        .arg("-d")
        .arg(bench.scratch.path().join(REQUEST))
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(format!(
            "http://{server}/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion"
        ));
    command
}

fn h2load(bench: &Bench, load: Load) -> Command {
    let mut command = leash::command(&bench.tools.h2load);
    let Load {
        connections,
        streams,
        calls,
    } = load;
    command
        .args([
            format!("-n{calls}"),
            format!("-c{connections}"),
            format!("-m{streams}"),
        ])
        // One that has fallen silent must not hold up the others.
        .args(["-N", "10s"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    command
}

fn timed(
    bench: &Bench,
    command: &mut Command,
    calls: u32,
    length: usize,
) -> Result<Vec<f64>, String> {
    let log = bench.scratch.path().join(LOG);
    // It adds to a file that is there.
    let _ = fs::remove_file(&log);
    command.arg(format!("--log-file={}", log.display()));
    succeeded(command, calls, length)?;
    // When it began, the HTTP status, and how many microseconds it took.
    let log = fs::read_to_string(log).unwrap();
    Ok(log
        .lines()
        .map(|line| line.split('\t').nth(2).unwrap().parse::<f64>().unwrap() / 1e6)
        .collect())
}

/// What h2load printed, if every call was answered. It looks at the HTTP status alone, and an error of gRPC has a good
/// one, but no message.
fn succeeded(command: &mut Command, calls: u32, length: usize) -> Result<String, String> {
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let good = word_before(&output, "succeeded").unwrap_or(0.0);
    let bytes = word_before(&output, "data").unwrap_or(0.0);
    let expected = calls as usize * length;
    if good != f64::from(calls) {
        return Err(format!("{good} of {calls} calls succeeded"));
    }
    if bytes != expected as f64 {
        return Err(format!("{bytes} bytes of answers, not {expected}"));
    }
    Ok(output)
}

/// The number before the first such word, with or without brackets.
fn word_before(output: &str, word: &str) -> Option<f64> {
    let mut words = output.split_whitespace();
    let mut last = words.next()?;
    for next in words {
        if next.trim_end_matches(',') == word {
            return last.trim_matches(['(', ')']).parse().ok();
        }
        last = next;
    }
    None
}

fn answer_length() -> usize {
    let answer = GetSecretQuestionResponse {
        secret_question: Some(QUESTION.to_owned()),
    };
    FRAME + answer.encoded_len()
}
