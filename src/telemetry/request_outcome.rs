//! What became of a request to the API, by the conventions' attributes.

use http::{StatusCode, Version};
use opentelemetry::{KeyValue, Value};
use opentelemetry_semantic_conventions::attribute;

/// What became of a request to the API.
#[derive(Debug, Default)]
pub(super) struct RequestOutcome {
    /// The answer's status, and the version of HTTP that it came in.
    answer: Option<(StatusCode, Version)>,
    /// The class of the error, if it was one.
    error: Option<Value>,
}

impl RequestOutcome {
    /// An answer has begun.
    pub(super) fn answered(&mut self, status: StatusCode, version: Version) {
        self.answer = Some((status, version));
        if status.is_client_error() || status.is_server_error() {
            self.error = Some(Value::from(status.as_str().to_owned()));
        }
    }

    /// No whole answer came, for an error of that class. An answer that is an error and then breaks off is still one error.
    pub(super) fn failed(&mut self, kind: &'static str) {
        self.error.get_or_insert_with(|| Value::from(kind));
    }

    /// Whether it was an error.
    pub(super) fn is_error(&self) -> bool {
        self.error.is_some()
    }

    /// Whether it went as nearly all do: 200 over HTTP/1.1.
    pub(super) fn is_usual(&self) -> bool {
        self.error.is_none() && self.answer == Some((StatusCode::OK, Version::HTTP_11))
    }

    /// What measurements and spans have of it.
    pub(super) fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        if let Some((status, version)) = self.answer {
            attributes.push(KeyValue::new(
                attribute::HTTP_RESPONSE_STATUS_CODE,
                i64::from(status.as_u16()),
            ));
            attributes.push(KeyValue::new(
                attribute::NETWORK_PROTOCOL_VERSION,
                name_of(version),
            ));
        }
        attributes.extend(
            self.error
                .clone()
                .map(|error| KeyValue::new(attribute::ERROR_TYPE, error)),
        );
        attributes
    }
}

fn name_of(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
