//! The faults that a caller can ask the stand-in API for, by the user, user name, code or token
//! `fault:NAME`.
//!
//! | name | what the API does |
//! | --- | --- |
//! | `slow` | responds properly, after three seconds |
//! | `hang` | never responds |
//! | `reset` | closes the connection without a response |
//! | `cut-off` | sends half of its JSON and closes the connection |
//! | `half-json` | sends half of its JSON as if it were complete |
//! | `html-200`, `html-502` | sends an HTML page |
//! | `redirect` | 307, to another host |
//! | `bad-request`, `validation`, `conflict`, `server-error` | 400, 422 with `ModelState`, 409, 500 with a stack trace |
//! | `key-rejected`, `denied` | 403 with the application key's error, 401 |
//! | `not-found`, `no-route`, `api-version` | 404 on an entity, 404 on the route, 400 `UnsupportedApiVersion` |
//! | `rate-limited`, `unavailable` | 429, 503, both with `Retry-After: 7` |
//! | `bad-gateway`, `timeout` | 502, 504, without a body |
//! | `refused`, `unexplained` | 200: an entry in `Errors` with its code; `IsSucceed: false` without one |

use std::{io, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};

/// Marks a response that is not sent: the connection is closed instead.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection is closed, as asked")]
pub(super) struct Reset;

/// The response of the fault that the value names; `None` if it names none and the step goes on.
pub(super) async fn provoked(value: &str) -> Option<Response> {
    let response = match value.strip_prefix("fault:")? {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            json_response(
                200,
                json!({ "Model": "slow", "Errors": [], "IsSucceed": true }),
            )
        }
        "hang" => std::future::pending().await,
        "reset" => reset(),
        "cut-off" => cut_off(),
        "half-json" => (JSON, r#"{"Model": "half","Err"#).into_response(),
        name => http_fault(name).unwrap_or_else(|| json_fault(name)),
    };
    Some(response)
}

/// Faults in which the status, a header or the content type matters.
fn http_fault(name: &str) -> Option<Response> {
    let welcome = Html("<html><body><h1>Welcome</h1></body></html>");
    let bad_gateway = Html("<html><body><h1>502 Bad Gateway</h1></body></html>");
    let elsewhere = [(header::LOCATION, "http://elsewhere.invalid/")];
    let slow_down = Json(json!({ "Message": "Slow down" }));
    let response = match name {
        "html-200" => welcome.into_response(),
        "html-502" => (StatusCode::BAD_GATEWAY, bad_gateway).into_response(),
        "redirect" => (StatusCode::TEMPORARY_REDIRECT, elsewhere).into_response(),
        "rate-limited" => (StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER, slow_down).into_response(),
        "unavailable" => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER).into_response(),
        "bad-gateway" => StatusCode::BAD_GATEWAY.into_response(),
        "timeout" => StatusCode::GATEWAY_TIMEOUT.into_response(),
        _ => return None,
    };
    Some(response)
}

/// Faults that the API explains in JSON.
fn json_fault(name: &str) -> Response {
    let (status, body) = match name {
        "bad-request" => (400, json!({ "Message": "The request is invalid." })),
        "validation" => (
            422,
            json!({
                "Message": "Validation error occured while processing entity",
                "ModelState": { "userPassword.Password": ["Password is too short"] },
            }),
        ),
        "conflict" => (409, json!({ "Message": "Conflict" })),
        "server-error" => (
            500,
            json!({
                "message": "An error occurred while processing your request",
                "error": "Unexpected server error",
                "ExceptionMessage": "Object reference not set to an instance of an object.",
                "ExceptionType": "System.NullReferenceException",
                "StackTrace": "   at Sandbox.Users.Reset()",
            }),
        ),
        "key-rejected" => (403, json!({ "error": KEY_REJECTED })),
        "denied" => (401, json!({ "Message": DENIED })),
        "not-found" => (404, json!({ "Message": "Resource was not found" })),
        "no-route" => (404, json!({ "Message": NO_ROUTE })),
        "api-version" => (
            400,
            json!({ "Error": { "Code": "UnsupportedApiVersion", "Message": API_VERSION } }),
        ),
        "refused" => (
            200,
            json!({
                "Model": null,
                "Errors": ["The account is locked."],
                "ErrorsCode": ["ErrorAccountLocked"],
                "StatusCode": "Continue",
                "IsSucceed": false,
            }),
        ),
        "unexplained" => (200, json!({ "Errors": [], "IsSucceed": false })),
        _ => (400, json!({ "Message": "The sandbox has no such fault." })),
    };
    json_response(status, body)
}

pub(super) const KEY_REJECTED: &str = "Application key is not defined or does not exist";
const DENIED: &str = "Authorization has been denied for this request.";
const NO_ROUTE: &str =
    "No HTTP resource was found that matches the request URI 'http://sandbox.invalid/'.";
const API_VERSION: &str = "The API version '1.0' is not supported.";
const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const RETRY_AFTER: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "7")];

/// A JSON response with that status.
pub(super) fn json_response(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status of three digits");
    (status, Json(body)).into_response()
}

fn reset() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(Reset);
    response
}

/// A body that breaks off before its announced end.
fn cut_off() -> Response {
    let half = Bytes::from_static(br#"{"Model": "cut","Err"#);
    let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
    let body = Body::from_stream(stream::iter([Ok(half), broken]));
    (JSON, body).into_response()
}
