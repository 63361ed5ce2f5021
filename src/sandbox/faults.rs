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
    body::Body,
    http::{StatusCode, header},
    response::{Response, Result},
};
use futures_util::{StreamExt, stream};

/// The faults that are responses: name, HTTP status and body.
const RESPONSES: &str = r#"
slow 200 {"Model":"slow","Errors":[],"IsSucceed":true}
half-json 200 {"Model":"half","Err
html-200 200 <html><body><h1>Welcome</h1></body></html>
html-502 502 <html><body><h1>502 Bad Gateway</h1></body></html>
redirect 307
bad-request 400 {"Message":"The request is invalid."}
validation 422 {"Message":"Validation error occured while processing entity","ModelState":{"userPassword.Password":["Password is too short"]}}
conflict 409 {"Message":"Conflict"}
server-error 500 {"message":"An error occurred while processing your request","error":"Unexpected server error","ExceptionMessage":"Object reference not set to an instance of an object.","ExceptionType":"System.NullReferenceException","StackTrace":"   at Sandbox.Users.Reset()"}
key-rejected 403 {"error":"Application key is not defined or does not exist"}
denied 401 {"Message":"Authorization has been denied for this request."}
not-found 404 {"Message":"Resource was not found"}
no-route 404 {"Message":"No HTTP resource was found that matches the request URI 'http://sandbox.invalid/'."}
api-version 400 {"Error":{"Code":"UnsupportedApiVersion","Message":"The API version '1.0' is not supported."}}
rate-limited 429 {"Message":"Slow down"}
unavailable 503
bad-gateway 502
timeout 504
refused 200 {"Model":null,"Errors":["The account is locked."],"ErrorsCode":["ErrorAccountLocked"],"StatusCode":"Continue","IsSucceed":false}
unexplained 200 {"Errors":[],"IsSucceed":false}
"#;
const NO_SUCH_FAULT: (&str, &str) = ("", r#"400 {"Message":"The sandbox has no such fault."}"#);

/// Provokes the fault that the value names, if it names one.
///
/// # Errors
///
/// The response of the fault.
pub(super) async fn provoke(value: &str) -> Result<()> {
    let Some(name) = value.strip_prefix("fault:") else {
        return Ok(());
    };
    match name {
        "slow" => tokio::time::sleep(Duration::from_secs(3)).await,
        "hang" => std::future::pending().await,
        "reset" => return Err(cut_off(None).into()),
        "cut-off" => return Err(cut_off(Some(r#"{"Model":"cut","Err"#)).into()),
        _ => {}
    }
    let mut rows = RESPONSES.lines().filter_map(|line| line.split_once(' '));
    let row = rows.find(|row| row.0 == name).unwrap_or(NO_SUCH_FAULT);
    let (status, body) = row.1.split_at(3);
    let body = body.trim_start();
    let header = match status {
        "307" => (header::LOCATION, "http://elsewhere.invalid/"),
        "429" | "503" => (header::RETRY_AFTER, "7"),
        _ if body.starts_with('<') => (header::CONTENT_TYPE, "text/html"),
        _ => (header::CONTENT_TYPE, "application/json"),
    };
    let status = StatusCode::from_bytes(status.as_bytes()).expect("the table is valid");
    Err((status, [header], body).into())
}

/// A response whose connection breaks, after a part of the body or before anything is sent.
fn cut_off(part: Option<&'static str>) -> Response {
    let end = async move {
        // hyper sends what it holds when it has to wait for more, and drops it when the body fails.
        if part.is_some() {
            tokio::task::yield_now().await;
        }
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let body = stream::iter(part.map(Ok)).chain(stream::once(end));
    Response::new(Body::from_stream(body))
}
