//! `explain` prints the status that the gateway returns.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    statuses::{Case, cases},
    support::{
        api::{Api, Reply},
        gateway::{Call, Gateway, KEY, Plain, UNLIMITED, program},
    },
};

/// The status that the program prints for a response.
fn explained(args: &[&str], body: &[u8]) -> Value {
    let mut command: Command = program(&["explain"]);
    let mut child = command.args(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The status in the JSON form of protobuf, written by another library than the gateway's.
fn json_of(status: &Status) -> Value {
    let pool = DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap();
    let message = pool.get_message_by_name("google.rpc.Status").unwrap();
    let mut decoded = DynamicMessage::decode(message, status.details()).unwrap();
    decoded.set_field_by_name(
        "message",
        prost_reflect::Value::String(status.message().to_owned()),
    );
    let options = SerializeOptions::new();
    let mut json = decoded
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap();
    json["code"] = json!(code_name(status));
    sorted(json)
}

/// Sorts the details, whose order means nothing.
fn sorted(mut status: Value) -> Value {
    let details = status["details"].as_array_mut().unwrap();
    details.sort_by_key(|detail| detail["@type"].to_string());
    status
}

/// `FailedPrecondition` → `FAILED_PRECONDITION`
fn code_name(status: &Status) -> String {
    let name = format!("{:?}", status.code());
    let upper = |(index, c): (usize, char)| {
        let separator = if index > 0 && c.is_uppercase() {
            "_"
        } else {
            ""
        };
        format!("{separator}{}", c.to_ascii_uppercase())
    };
    name.chars().enumerate().map(upper).collect()
}

/// The options that describe the reply, and its body.
fn options_and_body(call: Call, reply: &Reply) -> (Vec<String>, Vec<u8>) {
    let Reply::Bytes(bytes) = reply else {
        panic!("not a response")
    };
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
    };
    let mut args = vec![
        "--rpc".to_owned(),
        call.rpc().to_owned(),
        "--http-status".to_owned(),
        head[9..12].to_owned(),
    ];
    args.extend([
        "--content-type".to_owned(),
        header("Content-Type")
            .unwrap_or("application/json")
            .to_owned(),
    ]);
    if let Some(seconds) = header("Retry-After").filter(|value| value.parse::<u64>().is_ok()) {
        args.extend(["--retry-after".to_owned(), seconds.to_owned()]);
    }
    if call == Call::ResetWithAnswer {
        args.push("--answered".to_owned());
    }
    (args, bytes[end + 4..].to_vec())
}

#[tokio::test]
async fn explain_prints_the_status_that_the_gateway_returns() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &[&["--app-key", KEY][..], &UNLIMITED].concat());
    let mut client = gateway.client().await;
    let mut compared = 0;
    for Case {
        call, reply, row, ..
    } in cases()
    {
        let (args, body) = options_and_body(call, &reply);
        // `--retry-after` takes seconds alone.
        if row.contains("GMT") {
            continue;
        }
        api.reply(reply);
        let status = call.make(&mut client, Plain).await.unwrap_err();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        assert_eq!(
            sorted(explained(&args, &body)),
            json_of(&status),
            "{args:?}"
        );
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

#[test]
fn a_success_is_printed_as_ok() {
    for call in Call::ALL {
        let status = explained(&["--rpc", call.rpc()], call.success().as_bytes());
        assert_eq!(
            status,
            json!({ "code": "OK", "message": "", "details": [] }),
            "{call:?}"
        );
    }
}

#[test]
fn the_status_of_a_rejected_key_depends_on_its_owner() {
    let of = |args: &[&str]| {
        let args = [&["--rpc", "ResetPassword", "--http-status", "401"], args].concat();
        explained(&args, b"")["code"].clone()
    };
    assert_eq!(of(&[]), json!("INTERNAL"));
    assert_eq!(of(&["--callers-key"]), json!("UNAUTHENTICATED"));
}

#[test]
fn the_body_can_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), Call::Token.success()).unwrap();
    let args = ["--rpc", "GenerateToken", file.path().to_str().unwrap()];
    assert_eq!(explained(&args, b"")["code"], json!("OK"));
    let missing = program(&["explain", "--rpc", "GenerateToken", "/no/such/file"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
}
