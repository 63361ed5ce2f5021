//! The faults that the stand-in API can be asked for: the user, user name, code or token `fault:NAME`.
//!
//! | name | what the API does |
//! | --- | --- |
//! | `slow` | answers properly, after three seconds |
//! | `hang` | never answers |
//! | `reset` | closes the connection without an answer |
//! | `cut-off` | sends half of its JSON and closes the connection |
//! | `half-json` | sends half of its JSON as if it were all |
//! | `html-200`, `html-502` | sends a page of HTML |
//! | `redirect` | 307, to another host |
//! | `bad-request`, `validation`, `conflict`, `server-error` | 400, 422 with `ModelState`, 409, 500 with a stack trace |
//! | `key-rejected`, `denied` | 403 with the application key's error, 401 |
//! | `not-found`, `no-route`, `api-version` | 404 on an entity, 404 on the route, 400 `UnsupportedApiVersion` |
//! | `rate-limited`, `unavailable` | 429, 503, both with `Retry-After: 7` |
//! | `bad-gateway`, `timeout` | 502, 504, without a body |
//! | `refused`, `unexplained` | 200: an entry in `Errors` with its code; `IsSucceed: false` without one |

use std::{fmt, io, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};

/// Marks an answer that is not to be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed, as asked")
    }
}

impl std::error::Error for Reset {}

/// The answer of the fault that the value asks for; `None` if it asks for none, and the step goes on.
pub(super) async fn provoked(value: &str) -> Option<Response> {
    let name = value.strip_prefix("fault:")?;
    let answer = match name {
        "slow" => {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Json(json!({ "Model": "slow", "Errors": [], "IsSucceed": true })).into_response()
        }
        "hang" => std::future::pending().await,
        "reset" => reset(),
        "cut-off" => cut_off(),
        "half-json" => ([(header::CONTENT_TYPE, "application/json")], r#"{"Model": "half","Err"#).into_response(),
        "html-200" => Html("<html><body><h1>Welcome</h1></body></html>").into_response(),
        "html-502" => {
            (StatusCode::BAD_GATEWAY, Html("<html><body><h1>502 Bad Gateway</h1></body></html>")).into_response()
        }
        "redirect" => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://elsewhere.invalid/")]).into_response()
        }
        "bad-request" => error(400, json!({ "Message": "The request is invalid." })),
        "validation" => error(
            422,
            json!({
                "Message": "Validation error occured while processing entity",
                "ModelState": { "userPassword.Password": ["Password is too short"] },
            }),
        ),
        "conflict" => error(409, json!({ "Message": "Conflict" })),
        "server-error" => error(
            500,
            json!({
                "message": "An error occurred while processing your request",
                "error": "Unexpected server error",
                "ExceptionMessage": "Object reference not set to an instance of an object.",
                "ExceptionType": "System.NullReferenceException",
                "StackTrace": "   at Sandbox.Users.Reset()",
            }),
        ),
        "key-rejected" => error(403, json!({ "error": "Application key is not defined or does not exist" })),
        "denied" => error(401, json!({ "Message": "Authorization has been denied for this request." })),
        "not-found" => error(404, json!({ "Message": "Resource was not found" })),
        "no-route" => error(
            404,
            json!({
                "Message": "No HTTP resource was found that matches the request URI 'http://sandbox.invalid/'.",
            }),
        ),
        "api-version" => error(
            400,
            json!({
                "Error": { "Code": "UnsupportedApiVersion", "Message": "The API version '1.0' is not supported." },
            }),
        ),
        "rate-limited" => {
            (StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER, Json(json!({ "Message": "Slow down" }))).into_response()
        }
        "unavailable" => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER).into_response(),
        "bad-gateway" => StatusCode::BAD_GATEWAY.into_response(),
        "timeout" => StatusCode::GATEWAY_TIMEOUT.into_response(),
        "refused" => Json(json!({
            "Model": null, "Errors": ["The account is locked."], "ErrorsCode": ["ErrorAccountLocked"],
            "StatusCode": "Continue", "IsSucceed": false,
        }))
        .into_response(),
        "unexplained" => Json(json!({ "Errors": [], "IsSucceed": false })).into_response(),
        _ => error(400, json!({ "Message": "The sandbox has no such fault." })),
    };
    Some(answer)
}

const RETRY_AFTER: [(HeaderName, &str); 1] = [(header::RETRY_AFTER, "7")];

/// A JSON answer of that status.
pub(super) fn error(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status of three digits");
    (status, Json(body)).into_response()
}

fn reset() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(Reset);
    response
}

/// A body that breaks off: the client was promised more.
fn cut_off() -> Response {
    let half = Bytes::from_static(br#"{"Model": "cut","Err"#);
    let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
    let body = Body::from_stream(stream::iter([Ok(half), broken]));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
