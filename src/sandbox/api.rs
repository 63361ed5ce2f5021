//! The stand-in's REST endpoints: the documented paths of all releases, bodies and errors, over [`Accounts`].

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response, Result},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
};
use tracing::info;

use super::{
    accounts::{Accounts, Refusal, question},
    faults::provoke,
};
use crate::rpc::{Rpc, UpstreamRelease};

struct Sandbox {
    accounts: Mutex<Accounts>,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: String,
}

/// Serves the stand-in API, in that version, for as long as it is polled. If there is a key, REST
/// calls have to carry it.
pub(crate) async fn serve(
    listener: TcpListener,
    key: Option<watch::Receiver<HeaderValue>>,
    api_version: &str,
) {
    let sandbox = Arc::new(Sandbox {
        accounts: Mutex::default(),
        key,
        api_version: api_version.to_owned(),
    });
    let path = |rpc: Rpc| rpc.http_path(UpstreamRelease::AutoShares);
    let etna_token_path = Rpc::GenerateToken.http_path(UpstreamRelease::Etna);
    let api = Router::new()
        .route(path(Rpc::ResetPassword), post(reset_password))
        .route(path(Rpc::GetSecretQuestion), get(secret_question))
        .route(path(Rpc::GenerateToken), post(generate_token))
        .route(etna_token_path, post(etna_generate_token))
        .route(path(Rpc::UpdatePassword), put(update_password))
        .method_not_allowed_fallback(unsupported_method)
        .layer(middleware::from_fn_with_state(sandbox.clone(), check_key));
    let routes = Router::new()
        .nest(&format!("/v{api_version}"), api)
        .route("/sandbox/mailbox/{user}", get(mailbox))
        .fallback(no_route)
        .with_state(sandbox);
    let _ = axum::serve(listener, routes).await;
}

async fn reset_password(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Json<Value>> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let user = body["User"].as_str().ok_or_else(unreadable)?;
    provoke(user).await?;
    let answer = body["SecretQuestionAnswer"].as_str();
    let code = sandbox.accounts.lock().await.reset(user, answer)?;
    info!(code, "mailed a confirmation code");
    // As documented: a success of this step, and only of this step, says `false`.
    Ok(Json(json!({ "Errors": [], "IsSucceed": false })))
}

async fn secret_question(Query(query): Query<HashMap<String, String>>) -> Result<Json<Value>> {
    let username = query.get("username").ok_or_else(unreadable)?;
    provoke(username).await?;
    Ok(succeeded(question(username)?.unwrap_or_default()))
}

async fn generate_token(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Json<Value>> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = body["Code"].as_str().ok_or_else(unreadable)?;
    provoke(code).await?;
    let token = sandbox.accounts.lock().await.token(code)?;
    Ok(succeeded(&token))
}

/// Step 3 as newer releases have it: the body also says what the token is for.
async fn etna_generate_token(sandbox: State<Arc<Sandbox>>, body: Bytes) -> Result<Json<Value>> {
    let members: Value = serde_json::from_slice(&body).unwrap_or_default();
    if members["Identifier"] != "ResetPassword" {
        return Err(unreadable().into());
    }
    generate_token(sandbox, body).await
}

async fn update_password(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Json<Value>> {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let token = body["Token"].as_str().ok_or_else(unreadable)?;
    provoke(token).await?;
    let password = body["Password"].as_str().ok_or_else(unreadable)?;
    if password.is_empty() {
        return Err(invalid("Password", "Password is required").into());
    }
    let confirmation = body["PasswordConfirmation"].as_str();
    if confirmation.ok_or_else(unreadable)? != password {
        let message = "The password and its confirmation differ";
        return Err(invalid("PasswordConfirmation", message).into());
    }
    sandbox.accounts.lock().await.set_password(token)?;
    Ok(Json(json!({ "Errors": [], "IsSucceed": true })))
}

/// The code that was mailed last to the trader. This path is the sandbox's own, not the API's.
async fn mailbox(State(sandbox): State<Arc<Sandbox>>, Path(user): Path<String>) -> Response {
    match sandbox.accounts.lock().await.mailbox(&user) {
        Some(code) => Json(json!({ "code": code })).into_response(),
        None => error(404, json!({ "error": "nothing was mailed to this user" })),
    }
}

async fn check_key(State(sandbox): State<Arc<Sandbox>>, request: Request, next: Next) -> Response {
    match &sandbox.key {
        Some(key) if request.headers().get("et-app-key") != Some(&*key.borrow()) => error(
            403,
            json!({ "error": "Application key is not defined or does not exist" }),
        ),
        _ => next.run(request).await,
    }
}

async fn unsupported_method(State(sandbox): State<Arc<Sandbox>>, method: Method) -> Response {
    let version = &sandbox.api_version;
    let message = format!(
        "The requested resource with API version '{version}' does not support HTTP method '{method}'."
    );
    let body = json!({ "Error": { "Code": "UnsupportedApiVersion", "Message": message } });
    error(405, body)
}

async fn no_route(uri: Uri) -> Response {
    let path = uri.path();
    let message = format!("No HTTP resource was found that matches the request URI '{path}'.");
    error(404, json!({ "Message": message }))
}

fn succeeded(model: &str) -> Json<Value> {
    Json(json!({ "Model": model, "Errors": [], "IsSucceed": true }))
}

/// The body or the query cannot be read.
fn unreadable() -> Response {
    error(400, json!({ "Message": "The request is invalid." }))
}

/// A property of the body is wrong.
fn invalid(property: &str, message: &str) -> Response {
    let state = json!({ format!("userPassword.{property}"): [message] });
    let message = "Validation error occured while processing entity";
    error(422, json!({ "Message": message, "ModelState": state }))
}

fn error(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).expect("a status of three digits");
    (status, Json(body)).into_response()
}

impl IntoResponse for Refusal {
    /// Only the first of these texts is documented.
    fn into_response(self) -> Response {
        let (text, code) = match self {
            Self::UnknownUser => return error(404, json!({ "Message": "Resource was not found" })),
            Self::IncorrectAnswer => ("Answer is incorrect, try again.", "ErrorIncorrectAnswer"),
            Self::IncorrectCode => ("Code is incorrect or has expired.", "ErrorIncorrectCode"),
            Self::IncorrectToken => ("Token is incorrect or has expired.", "ErrorIncorrectToken"),
        };
        Json(json!({ "Errors": [text], "ErrorsCode": [code], "IsSucceed": false })).into_response()
    }
}
