//! The `explain` command: prints the gRPC status that a response of the API becomes, without making a call.

use std::{
    fs,
    io::{self, Read},
};

use serde_json::{Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    config,
    envelope::{ApiResponse, RequestValues},
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
    let mut body = Vec::new();
    match &config.body {
        Some(path) => body = fs::read(path)?,
        None => drop(io::stdin().lock().read_to_end(&mut body)?),
    }
    let status = match parse(config, body) {
        Ok(()) => Status::new(tonic::Code::Ok, ""),
        Err(error) => {
            Classification::of(&error, config.rpc.is_read_only(), config.key_owner()).status(&error)
        }
    };
    Ok(format!("{:#}", to_json(&status)))
}

fn parse(config: &config::Explain, body: Vec<u8>) -> Result<(), Error> {
    let http_status = config.http_status;
    if body.len() > MAX_RESPONSE {
        return Err(Error::TooLarge { http_status });
    }
    let response = ApiResponse {
        http_status,
        content_type: Some(config.content_type.clone()),
        retry_after: config.retry_after,
        body: body.into(),
        values: RequestValues::default(),
    };
    steps::parse(config.rpc, &response, config.answered).map_err(Error::Refused)
}

/// The JSON form of `google.rpc.Status`, with the name of the code in place of its number.
fn to_json(status: &Status) -> Value {
    let error_details = status.get_error_details();
    let mut details = Vec::new();
    if let Some(info) = error_details.error_info() {
        details.push(json!({
            "@type": type_url("ErrorInfo"),
            "reason": info.reason,
            "domain": info.domain,
            "metadata": info.metadata,
        }));
    }
    if let Some(delay) = error_details.retry_info().and_then(|info| info.retry_delay) {
        // The API asks for whole seconds.
        let delay = format!("{}s", delay.as_secs());
        details.push(json!({ "@type": type_url("RetryInfo"), "retryDelay": delay }));
    }
    if let Some(failure) = error_details.precondition_failure() {
        let violations = failure.violations.iter();
        let violations: Vec<_> = violations
            .map(
                |v| json!({ "type": v.r#type, "subject": v.subject, "description": v.description }),
            )
            .collect();
        details.push(json!({ "@type": type_url("PreconditionFailure"), "violations": violations }));
    }
    if let Some(request) = error_details.bad_request() {
        let violations = request.field_violations.iter();
        let violations: Vec<_> = violations
            .map(|v| json!({ "field": v.field, "description": v.description }))
            .collect();
        details.push(json!({ "@type": type_url("BadRequest"), "fieldViolations": violations }));
    }
    if let Some(message) = error_details.localized_message() {
        details.push(json!({
            "@type": type_url("LocalizedMessage"),
            "locale": message.locale,
            "message": message.message,
        }));
    }
    details.iter_mut().for_each(remove_empty_strings);
    json!({ "code": code_name(status.code()), "message": status.message(), "details": details })
}

fn type_url(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

/// Removes empty strings, which the JSON form of protobuf omits.
fn remove_empty_strings(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| value != "");
            object.values_mut().for_each(remove_empty_strings);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_empty_strings),
        _ => {}
    }
}
