//! The stand-in's REST endpoints: the documented paths, bodies and errors over [`Accounts`].

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
    accounts::{Accounts, Refused},
    faults::{error, provoked},
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

/// All paths of the stand-in. With a key, REST calls have to carry it.
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

async fn reset_password(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, Refusal> {
    let Reset {
        user,
        secret_question_answer,
    } = parse(&body)?;
    if let Some(fault) = provoked(&user).await {
        return Ok(fault);
    }
    let code =
        sandbox
            .accounts()
            .reset(&user, secret_question_answer.as_deref(), Instant::now())?;
    info!(code, "mailed a confirmation code");
    // As documented: the success of this step, and of no other, says that it did not succeed.
    Ok(Json(json!({ "Errors": [], "IsSucceed": false })).into_response())
}

#[derive(Deserialize)]
struct Username {
    username: String,
}

async fn secret_question(
    State(sandbox): State<Sandbox>,
    query: Result<Query<Username>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Username { username }) = query.map_err(|_| Refusal::Invalid)?;
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

async fn generate_token(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, Refusal> {
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

async fn update_password(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Response, Refusal> {
    let NewPassword {
        token,
        password,
        password_confirmation,
    } = parse(&body)?;
    if let Some(fault) = provoked(&token).await {
        return Ok(fault);
    }
    if password.is_empty() {
        return Err(Refusal::Field("Password", "Password is required"));
    }
    if password != password_confirmation {
        return Err(Refusal::Field(
            "PasswordConfirmation",
            "The password and its confirmation differ",
        ));
    }
    sandbox
        .accounts()
        .set_password(&token, &password, Instant::now())?;
    Ok(Json(json!({ "Errors": [], "IsSucceed": true })).into_response())
}

/// What was mailed last to the trader: the sandbox's own, not the API's.
async fn mailbox(State(sandbox): State<Sandbox>, Path(user): Path<String>) -> Response {
    match sandbox.accounts().mailbox(&user) {
        Some(code) => Json(json!({ "code": code })).into_response(),
        None => error(404, json!({ "error": "nothing was mailed to this user" })),
    }
}

async fn check_key(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    match &sandbox.key {
        Some(key) if request.headers().get("et-app-key") != Some(&*key.borrow()) => error(
            403,
            json!({ "error": "Application key is not defined or does not exist" }),
        ),
        _ => next.run(request).await,
    }
}

async fn unsupported_method(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let message = format!(
        "The requested resource with API version '{}' does not support HTTP method '{}'.",
        sandbox.api_version,
        request.method()
    );
    error(
        405,
        json!({ "Error": { "Code": "UnsupportedApiVersion", "Message": message } }),
    )
}

async fn no_route(uri: Uri) -> Response {
    let message = format!(
        "No HTTP resource was found that matches the request URI '{}'.",
        uri.path()
    );
    error(404, json!({ "Message": message }))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal::Invalid)
}

fn succeeded(model: &str) -> Response {
    Json(json!({ "Model": model, "Errors": [], "IsSucceed": true })).into_response()
}

/// Why a step is refused, by the form in which it is said.
enum Refusal {
    /// The body or the query cannot be read.
    Invalid,
    /// A property of the body, and what is wrong with it.
    Field(&'static str, &'static str),
    /// The accounts say so.
    Accounts(Refused),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Accounts(refused)
    }
}

impl IntoResponse for Refusal {
    /// Of the texts in `Errors` only the first is documented.
    fn into_response(self) -> Response {
        let (text, code) = match self {
            Self::Invalid => return error(400, json!({ "Message": "The request is invalid." })),
            Self::Field(property, message) => {
                let state = json!({ format!("userPassword.{property}"): [message] });
                let message = "Validation error occured while processing entity";
                return error(422, json!({ "Message": message, "ModelState": state }));
            }
            Self::Accounts(Refused::UnknownUser) => {
                return error(404, json!({ "Message": "Resource was not found" }));
            }
            Self::Accounts(Refused::IncorrectAnswer) => {
                ("Answer is incorrect, try again.", "ErrorIncorrectAnswer")
            }
            Self::Accounts(Refused::IncorrectCode) => {
                ("Code is incorrect or has expired.", "ErrorIncorrectCode")
            }
            Self::Accounts(Refused::IncorrectToken) => {
                ("Token is incorrect or has expired.", "ErrorIncorrectToken")
            }
        };
        Json(json!({ "Errors": [text], "ErrorsCode": [code], "IsSucceed": false })).into_response()
    }
}
