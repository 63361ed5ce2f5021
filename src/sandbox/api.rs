//! The stand-in's REST endpoints: the documented paths, bodies and errors, over [`Accounts`].

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::watch;
use tracing::info;

use super::{
    accounts::{Accounts, Refusal},
    faults::{KEY_REJECTED, json_response, provoked},
};
use crate::rpc::Rpc;

#[derive(Clone)]
struct Sandbox {
    accounts: Arc<Mutex<Accounts>>,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: Arc<str>,
}

impl Sandbox {
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts
            .lock()
            .expect("no panic while the accounts are locked")
    }
}

/// All paths of the stand-in. If there is a key, REST calls have to carry it.
pub(super) fn routes(key: Option<watch::Receiver<HeaderValue>>, api_version: &str) -> Router {
    let sandbox = Sandbox {
        accounts: Arc::new(Mutex::new(Accounts::new())),
        key,
        api_version: api_version.into(),
    };
    let api = Router::new()
        .route(Rpc::ResetPassword.http_path(), post(reset_password))
        .route(Rpc::GetSecretQuestion.http_path(), get(secret_question))
        .route(Rpc::GenerateToken.http_path(), post(generate_token))
        .route(Rpc::UpdatePassword.http_path(), put(update_password))
        .method_not_allowed_fallback(unsupported_method)
        .layer(middleware::from_fn_with_state(sandbox.clone(), check_key));
    Router::new()
        .nest(&format!("/v{api_version}"), api)
        .route("/sandbox/mailbox/{user}", get(mailbox))
        .fallback(no_route)
        .with_state(sandbox)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reset {
    user: String,
    secret_question_answer: Option<String>,
}

async fn reset_password(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, ApiError> {
    let request: Reset = parse(&body)?;
    if let Some(fault) = provoked(&request.user).await {
        return Ok(fault);
    }
    let answer = request.secret_question_answer.as_deref();
    let now = Instant::now();
    let code = sandbox.accounts().reset(&request.user, answer, now)?;
    info!(code, "mailed a confirmation code");
    // As documented: the success of this step, and of no other one, says `false`.
    Ok(Json(json!({ "Errors": [], "IsSucceed": false })).into_response())
}

#[derive(Deserialize)]
struct Username {
    username: String,
}

async fn secret_question(
    State(sandbox): State<Sandbox>,
    query: Result<Query<Username>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Username { username }) = query.map_err(|_| ApiError::Unreadable)?;
    if let Some(fault) = provoked(&username).await {
        return Ok(fault);
    }
    let question = sandbox.accounts().question(&username)?;
    Ok(succeeded(question.unwrap_or_default()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Code {
    code: String,
}

async fn generate_token(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, ApiError> {
    let Code { code } = parse(&body)?;
    if let Some(fault) = provoked(&code).await {
        return Ok(fault);
    }
    let token = sandbox.accounts().token(&code, Instant::now())?;
    Ok(succeeded(&token))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewPassword {
    token: String,
    password: String,
    password_confirmation: String,
}

async fn update_password(
    State(sandbox): State<Sandbox>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request: NewPassword = parse(&body)?;
    if let Some(fault) = provoked(&request.token).await {
        return Ok(fault);
    }
    if request.password.is_empty() {
        return Err(ApiError::Property("Password", "Password is required"));
    }
    if request.password != request.password_confirmation {
        return Err(ApiError::Property(
            "PasswordConfirmation",
            "The password and its confirmation differ",
        ));
    }
    sandbox
        .accounts()
        .set_password(&request.token, Instant::now())?;
    Ok(Json(json!({ "Errors": [], "IsSucceed": true })).into_response())
}

/// The code that was mailed last to the trader. This path is the sandbox's own, not the API's.
async fn mailbox(State(sandbox): State<Sandbox>, Path(user): Path<String>) -> Response {
    match sandbox.accounts().mailbox(&user) {
        Some(code) => Json(json!({ "code": code })).into_response(),
        None => json_response(404, json!({ "error": "nothing was mailed to this user" })),
    }
}

async fn check_key(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    match &sandbox.key {
        Some(key) if request.headers().get("et-app-key") != Some(&*key.borrow()) => {
            json_response(403, json!({ "error": KEY_REJECTED }))
        }
        _ => next.run(request).await,
    }
}

async fn unsupported_method(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let message = format!(
        "The requested resource with API version '{}' does not support HTTP method '{}'.",
        sandbox.api_version,
        request.method()
    );
    json_response(
        405,
        json!({ "Error": { "Code": "UnsupportedApiVersion", "Message": message } }),
    )
}

async fn no_route(uri: Uri) -> Response {
    let message = format!(
        "No HTTP resource was found that matches the request URI '{}'.",
        uri.path()
    );
    json_response(404, json!({ "Message": message }))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|_| ApiError::Unreadable)
}

fn succeeded(model: &str) -> Response {
    Json(json!({ "Model": model, "Errors": [], "IsSucceed": true })).into_response()
}

/// Why a request is not answered as asked.
enum ApiError {
    /// The body or the query cannot be read.
    Unreadable,
    /// A property of the body is wrong, and why.
    Property(&'static str, &'static str),
    /// The accounts refuse the step.
    Refused(Refusal),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for ApiError {
    /// Of the texts in `Errors` only the first one is documented.
    fn into_response(self) -> Response {
        let (text, code) = match self {
            Self::Unreadable => {
                return json_response(400, json!({ "Message": "The request is invalid." }));
            }
            Self::Property(property, message) => {
                let state = json!({ format!("userPassword.{property}"): [message] });
                let message = "Validation error occured while processing entity";
                return json_response(422, json!({ "Message": message, "ModelState": state }));
            }
            Self::Refused(Refusal::UnknownUser) => {
                return json_response(404, json!({ "Message": "Resource was not found" }));
            }
            Self::Refused(Refusal::IncorrectAnswer) => {
                ("Answer is incorrect, try again.", "ErrorIncorrectAnswer")
            }
            Self::Refused(Refusal::IncorrectCode) => {
                ("Code is incorrect or has expired.", "ErrorIncorrectCode")
            }
            Self::Refused(Refusal::IncorrectToken) => {
                ("Token is incorrect or has expired.", "ErrorIncorrectToken")
            }
        };
        Json(json!({ "Errors": [text], "ErrorsCode": [code], "IsSucceed": false })).into_response()
    }
}
