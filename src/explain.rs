//! `explain`: the gRPC status that an answer of the API becomes, as JSON, without a call.

use std::{
    fs,
    io::{self, Read},
    time::Duration,
};

use serde_json::{Map, Value, json};
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

/// Reads the answer's body and says what becomes of it.
///
/// # Errors
///
/// If the body cannot be read.
pub(crate) fn explain(config: &config::Explain) -> io::Result<String> {
    let body = match &config.body {
        Some(path) => fs::read(path)?,
        None => {
            let mut body = Vec::new();
            io::stdin().lock().read_to_end(&mut body)?;
            body
        }
    };
    let error = error(config, body);
    let status = error.map_or(Status::new(tonic::Code::Ok, ""), |error| {
        Classification::of(&error, config.rpc.only_reads(), config.key_owner()).status(&error)
    });
    Ok(format!("{:#}", to_json(&status)))
}

/// The error that the gateway would make of the answer; `None` if it is a success.
fn error(config: &config::Explain, body: Vec<u8>) -> Option<Error> {
    if body.len() > MAX_RESPONSE {
        return Some(Error::TooLarge {
            http_status: config.http_status,
        });
    }
    let answer = ApiResponse {
        http_status: config.http_status,
        content_type: Some(config.content_type.clone()),
        retry_after: config.retry_after,
        body: body.into(),
        values: RequestValues::default(),
    };
    steps::parse(config.rpc, &answer, config.answered)
        .err()
        .map(Error::Refused)
}

/// A status in the JSON form of `google.rpc.Status`, but with the code's name.
fn to_json(status: &Status) -> Value {
    let found = status.get_error_details();
    let mut details = Vec::new();
    let mut add = |kind: &str, members: Value| {
        let mut detail = Map::from_iter([(
            "@type".to_owned(),
            json!(format!("type.googleapis.com/google.rpc.{kind}")),
        )]);
        if let Value::Object(members) = without_empty(members) {
            detail.extend(members);
        }
        details.push(Value::Object(detail));
    };
    if let Some(info) = found.error_info() {
        let metadata: Map<_, _> = info
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        add(
            "ErrorInfo",
            json!({ "reason": info.reason, "domain": info.domain, "metadata": metadata }),
        );
    }
    if let Some(delay) = found.retry_info().and_then(|info| info.retry_delay) {
        add("RetryInfo", json!({ "retryDelay": seconds(delay) }));
    }
    if let Some(failure) = found.precondition_failure() {
        let violations = failure.violations.iter();
        let violations: Vec<_> = violations
            .map(
                |v| json!({ "type": v.r#type, "subject": v.subject, "description": v.description }),
            )
            .collect();
        add("PreconditionFailure", json!({ "violations": violations }));
    }
    if let Some(request) = found.bad_request() {
        let violations = request.field_violations.iter();
        let violations: Vec<_> = violations
            .map(|violation| json!({ "field": violation.field, "description": violation.description }))
            .collect();
        add("BadRequest", json!({ "fieldViolations": violations }));
    }
    if let Some(message) = found.localized_message() {
        add(
            "LocalizedMessage",
            json!({ "locale": message.locale, "message": message.message }),
        );
    }
    json!({ "code": code_name(status.code()), "message": status.message(), "details": details })
}

/// Protobuf's JSON leaves out what is empty.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| *value != json!(""));
            Value::Object(
                kept.map(|(name, value)| (name, without_empty(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_empty).collect()),
        other => other,
    }
}

/// A duration in JSON's form for protobuf: `7s`. The API asks for whole seconds.
fn seconds(delay: Duration) -> String {
    format!("{}s", delay.as_secs())
}
