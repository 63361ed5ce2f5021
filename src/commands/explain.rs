//! The `explain` command: prints the gRPC status that a response of the API becomes, without making a call.

use std::{
    fs,
    io::{self, Read},
    time::Duration,
};

use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb::FILE_DESCRIPTOR_SET;

use crate::{
    config,
    envelope::{ApiResponse, PrivateValues},
    error::Error,
    status::{Classification, code_name},
    steps,
    upstream::MAX_RESPONSE,
};

/// Reads the response's body from the file or standard input, and returns the status as JSON.
///
/// # Errors
///
/// If the body cannot be read.
pub(crate) fn explain(config: &config::Explain) -> io::Result<String> {
    let body = match &config.body {
        Some(path) => fs::read(path)?,
        None => io::stdin().lock().bytes().collect::<io::Result<_>>()?,
    };
    let status = match parse(config, &body) {
        Ok(()) => Status::new(Code::Ok, ""),
        Err(error) => {
            let is_read_only = config.rpc.is_read_only();
            Classification::of(&error, is_read_only).status(&error, is_read_only, Duration::MAX)
        }
    };
    Ok(format!("{:#}", to_json(&status)))
}

fn parse(config: &config::Explain, body: &[u8]) -> Result<(), Error> {
    let http_status = config.http_status;
    if body.len() > MAX_RESPONSE {
        return Err(Error::TooLarge { http_status });
    }
    let response = ApiResponse {
        http_status,
        content_type: Some(config.content_type.clone()),
        retry_after: config.retry_after,
        body: String::from_utf8_lossy(body).into_owned(),
        values: PrivateValues::default(),
    };
    let parsed = steps::parse(config.rpc, &response, config.answered).map_err(Error::Api);
    if config.callers_key {
        return parsed.map_err(Error::with_callers_key);
    }
    parsed
}

/// The JSON form of `google.rpc.Status`, with the name of the code in place of its number.
fn to_json(status: &Status) -> Value {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("tonic-types describes it");
    let descriptor = pool.get_message_by_name("google.rpc.Status");
    let descriptor = descriptor.expect("tonic-types describes the message");
    let message = DynamicMessage::decode(descriptor, status.details()).expect("tonic encoded it");
    let json = serde_json::to_value(message).expect("the descriptors of all details are known");
    json!({
        "code": code_name(status.code()),
        "message": status.message(),
        "details": json.get("details").unwrap_or(&json!([])),
    })
}
