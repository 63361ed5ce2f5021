//! The four steps: the exact request that the API receives, and the response to the caller.

use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
};
use tonic::Request;

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Metadata, Plain, program},
    status::summary,
};

/// The exact request. `HOST` stands for the API's address.
const RESET: &str = "POST /v1.0/users/password/reset HTTP/1.1\r\n\
    et-app-key: test-key\r\n\
    content-type: application/json\r\n\
    accept: application/json\r\n\
    accept-encoding: identity\r\n\
    user-agent: reset-gateway/VERSION\r\n\
    host: HOST\r\n\
    content-length: 21\r\n\
    \r\n\
    {\"User\":\"robert.zak\"}";

const RESET_WITH_ANSWER: &str = "POST /v1.0/users/password/reset HTTP/1.1\r\n\
    et-app-key: test-key\r\n\
    content-type: application/json\r\n\
    accept: application/json\r\n\
    accept-encoding: identity\r\n\
    user-agent: reset-gateway/VERSION\r\n\
    host: HOST\r\n\
    content-length: 59\r\n\
    \r\n\
    {\"User\":\"robert.zak\",\"SecretQuestionAnswer\":\" Peter\\\"son \"}";

const QUESTION: &str = "GET /v1.0/users/password/secret-question?username=hello%2Ba%20b%26c%40autosh%C3%A4res.com HTTP/1.1\r\n\
    et-app-key: test-key\r\n\
    accept: application/json\r\n\
    accept-encoding: identity\r\n\
    user-agent: reset-gateway/VERSION\r\n\
    host: HOST\r\n\
    \r\n";

const TOKEN: &str = "POST /v1.0/users/password/reset/code HTTP/1.1\r\n\
    et-app-key: test-key\r\n\
    content-type: application/json\r\n\
    accept: application/json\r\n\
    accept-encoding: identity\r\n\
    user-agent: reset-gateway/VERSION\r\n\
    host: HOST\r\n\
    content-length: 17\r\n\
    \r\n\
    {\"Code\":\"741175\"}";

const PASSWORD: &str = "PUT /v1.0/users/passwords/reset/ HTTP/1.1\r\n\
    et-app-key: test-key\r\n\
    content-type: application/json\r\n\
    accept: application/json\r\n\
    accept-encoding: identity\r\n\
    user-agent: reset-gateway/VERSION\r\n\
    host: HOST\r\n\
    content-length: 105\r\n\
    \r\n\
    {\"Token\":\"someToken-bd26-825db0\",\"Password\":\" pässword\\u0000\",\"PasswordConfirmation\":\" pässword\\u0000\"}";

/// Asserts that the API received this request and no other.
#[track_caller]
fn assert_received(api: &Api, expected: &str) {
    let version = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
    let expected = expected
        .replace("HOST", &api.address.to_string())
        .replace("reset-gateway/VERSION", version);
    assert_eq!(api.requests(), [expected]);
}

#[tokio::test]
async fn each_step_sends_exactly_the_documented_request() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;

    api.reply(Reply::json(200, Call::Reset.success()));
    let user = "robert.zak".to_owned();
    client
        .reset_password(ResetPasswordRequest {
            request_id: None,
            user: user.clone(),
            secret_question_answer: None,
        })
        .await
        .unwrap();
    assert_received(&api, RESET);

    let secret_question_answer = Some(" Peter\"son ".to_owned());
    client
        .reset_password(ResetPasswordRequest {
            request_id: None,
            user,
            secret_question_answer,
        })
        .await
        .unwrap();
    assert_received(&api, RESET_WITH_ANSWER);

    api.reply(Reply::json(200, Call::Question.success()));
    let username = "hello+a b&c@autoshäres.com".to_owned();
    let answer = client
        .get_secret_question(GetSecretQuestionRequest { username })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.secret_question.as_deref(),
        Some("What street did you live on?")
    );
    assert_received(&api, QUESTION);

    api.reply(Reply::json(200, Call::Token.success()));
    let answer = client
        .generate_token(GenerateTokenRequest {
            request_id: None,
            code: "741175".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.token, "ba6b8cac-6738");
    assert_received(&api, TOKEN);

    api.reply(Reply::json(200, Call::Password.success()));
    let (token, password) = ("someToken-bd26-825db0".to_owned(), " pässword\0".to_owned());
    let request = UpdatePasswordRequest {
        request_id: None,
        token,
        password: password.clone(),
        password_confirmation: None,
    };
    client.update_password(request.clone()).await.unwrap();
    assert_received(&api, PASSWORD);

    client
        .update_password(UpdatePasswordRequest {
            password_confirmation: Some(password),
            ..request
        })
        .await
        .unwrap();
    assert_received(&api, PASSWORD);
}

#[tokio::test]
async fn with_the_newer_release_only_step_3_is_another_request() {
    let api = Api::start(Reply::Silence).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.env("RESET_GATEWAY_UPSTREAM_RELEASE", "etna");
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    for call in Call::ALL {
        api.reply(Reply::json(200, call.success()));
        call.make(&mut client, Plain).await.unwrap();
        let request = api.requests().remove(0);
        let (line, _) = request.split_once(" HTTP/1.1\r\n").unwrap();
        let expected = match call {
            Call::Reset | Call::ResetWithAnswer => "POST /v1.0/users/password/reset",
            Call::Question => "GET /v1.0/users/password/secret-question?username=some.trader",
            Call::Token => "POST /v1.0/users/identifiers/reset/code",
            Call::Password => "PUT /v1.0/users/passwords/reset/",
        };
        assert_eq!(line, expected);
        let token_body = "\r\n\r\n{\"Code\":\"741175\",\"Identifier\":\"ResetPassword\"}";
        let has_token_body = request.ends_with(token_body);
        assert_eq!(has_token_body, call == Call::Token, "{request}");
    }
}

#[tokio::test]
async fn an_account_without_a_question_has_none_in_the_response() {
    let api = Api::start(Reply::json(
        200,
        r#"{ "Model": "", "Errors": [], "IsSucceed": true }"#,
    ))
    .await;
    let gateway = Gateway::before(&api.url());
    let request = GetSecretQuestionRequest {
        username: "jane.doe".to_owned(),
    };
    let answer = gateway
        .client()
        .await
        .get_secret_question(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.secret_question, None);
}

#[tokio::test]
async fn the_base_path_and_the_version_are_part_of_every_path() {
    let api = Api::start(Reply::json(200, Call::Password.success())).await;
    let url = format!("{}/base/", api.url());
    let gateway = Gateway::with(&url, &["--app-key", KEY, "--upstream-api-version", "2.1"]);
    Call::Password
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    assert!(api.requests()[0].starts_with("PUT /base/v2.1/users/passwords/reset/ HTTP/1.1\r\n"));
}

#[tokio::test]
async fn the_gateways_key_wins_over_the_callers() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let gateway = Gateway::before(&api.url());
    Call::Reset
        .make(
            &mut gateway.client().await,
            Metadata(&[("et-app-key", "callers-key")]),
        )
        .await
        .unwrap();
    let request = &api.requests()[0];
    assert!(
        request.contains("\r\net-app-key: test-key\r\n") && !request.contains("callers-key"),
        "{request}"
    );
}

#[tokio::test]
async fn proxies_in_the_environment_are_ignored() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1");
    let gateway = Gateway::start(command);
    Call::Reset
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_invalid_request_is_refused_before_anything_is_sent() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let long = "x".repeat(1025);
    let empty = || String::new();

    let reset = |user: &str, answer: Option<&str>| {
        Request::new(ResetPasswordRequest {
            request_id: None,
            user: user.to_owned(),
            secret_question_answer: answer.map(str::to_owned),
        })
    };
    let password = |token: &str, password: &str, confirmation: Option<&str>| {
        Request::new(UpdatePasswordRequest {
            request_id: None,
            token: token.to_owned(),
            password: password.to_owned(),
            password_confirmation: confirmation.map(str::to_owned),
        })
    };
    let refusals = [
        (
            client.reset_password(reset("", None)).await.unwrap_err(),
            "[user: must not be empty]",
        ),
        (
            client.reset_password(reset(&long, None)).await.unwrap_err(),
            "[user: must be at most 1024 bytes long]",
        ),
        (
            client
                .reset_password(reset("", Some("")))
                .await
                .unwrap_err(),
            "[user: must not be empty] [secret_question_answer: must not be empty]",
        ),
        (
            client
                .get_secret_question(GetSecretQuestionRequest { username: empty() })
                .await
                .unwrap_err(),
            "[username: must not be empty]",
        ),
        (
            client
                .generate_token(GenerateTokenRequest {
                    request_id: None,
                    code: empty(),
                })
                .await
                .unwrap_err(),
            "[code: must not be empty]",
        ),
        (
            client
                .get_secret_question(GetSecretQuestionRequest {
                    username: long.clone(),
                })
                .await
                .unwrap_err(),
            "[username: must be at most 1024 bytes long]",
        ),
        (
            client
                .generate_token(GenerateTokenRequest {
                    request_id: None,
                    code: long.clone(),
                })
                .await
                .unwrap_err(),
            "[code: must be at most 1024 bytes long]",
        ),
        (
            client
                .reset_password(reset("u", Some(&long)))
                .await
                .unwrap_err(),
            "[secret_question_answer: must be at most 1024 bytes long]",
        ),
        (
            client
                .update_password(password(&long, &long, Some(&long)))
                .await
                .unwrap_err(),
            "[token: must be at most 1024 bytes long] [password: must be at most 1024 bytes long]",
        ),
        (
            client
                .update_password(password("", "", None))
                .await
                .unwrap_err(),
            "[token: must not be empty] [password: must not be empty]",
        ),
        (
            client
                .update_password(password("t", "one", Some("two")))
                .await
                .unwrap_err(),
            "[password_confirmation: must equal the password, or be left out]",
        ),
        (
            client
                .update_password(password("t", "one", Some("")))
                .await
                .unwrap_err(),
            "[password_confirmation: must equal the password, or be left out]",
        ),
    ];
    for (status, violations) in refusals {
        assert_eq!(
            summary(&status),
            format!("InvalidArgument INVALID_REQUEST caller not_sent {violations}")
        );
    }
    assert!(api.requests().is_empty());

    api.reply(Reply::json(200, Call::Reset.success()));
    client
        .reset_password(reset(&"x".repeat(1024), Some(&"y".repeat(1024))))
        .await
        .unwrap();
}
