//! The whole flow with the stand-in API, and the faults that it offers.

use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::support::{
    gateway::{Call, Gateway, Plain, get, http, program},
    status::summary,
};

type Client = PasswordResetServiceClient<Channel>;

fn start() -> Gateway {
    Gateway::start(program(&["serve", "--sandbox"]))
}

async fn mailbox(gateway: &Gateway, user: &str) -> String {
    let url = format!(
        "{}sandbox/mailbox/{user}",
        gateway.announced("sandbox API on ")
    );
    let body = get(&url).await.1;
    let Value::Object(mut body) = serde_json::from_str(&body).unwrap() else {
        panic!("{body}")
    };
    body.remove("code").unwrap().as_str().unwrap().to_owned()
}

async fn reset(client: &mut Client, user: &str, answer: Option<&str>) -> Result<(), String> {
    let request = ResetPasswordRequest {
        request_id: None,
        user: user.to_owned(),
        secret_question_answer: answer.map(str::to_owned),
    };
    client
        .reset_password(request)
        .await
        .map(drop)
        .map_err(|status| summary(&status))
}

async fn question(client: &mut Client, user: &str) -> Result<Option<String>, String> {
    let request = GetSecretQuestionRequest {
        username: user.to_owned(),
    };
    let answer = client
        .get_secret_question(request)
        .await
        .map_err(|status| summary(&status))?;
    Ok(answer.into_inner().secret_question)
}

async fn token(client: &mut Client, code: &str) -> Result<String, String> {
    let answer = client
        .generate_token(GenerateTokenRequest {
            request_id: None,
            code: code.to_owned(),
        })
        .await;
    answer
        .map(|answer| answer.into_inner().token)
        .map_err(|status| summary(&status))
}

async fn set_password(
    client: &mut Client,
    token: &str,
    confirmation: Option<&str>,
) -> Result<(), String> {
    let request = UpdatePasswordRequest {
        request_id: None,
        token: token.to_owned(),
        password: "correct horse".to_owned(),
        password_confirmation: confirmation.map(str::to_owned),
    };
    client
        .update_password(request)
        .await
        .map(drop)
        .map_err(|status| summary(&status))
}

#[tokio::test]
async fn a_trader_with_a_question_takes_all_four_steps() {
    let gateway = start();
    let client = &mut gateway.client().await;

    let required = reset(client, "robert.zak", None).await.unwrap_err();
    assert!(
        required.starts_with("FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused"),
        "{required}"
    );
    let asked = question(client, "robert.zak").await.unwrap();
    assert_eq!(
        asked.as_deref(),
        Some("What street did you live on in third grade?")
    );
    let incorrect = reset(client, "robert.zak", Some("Main Street"))
        .await
        .unwrap_err();
    assert!(
        incorrect.starts_with("InvalidArgument SECRET_QUESTION_ANSWER_INCORRECT caller refused"),
        "{incorrect}"
    );
    reset(client, "robert.zak", Some("Peterson")).await.unwrap();

    let code = mailbox(&gateway, "robert.zak").await;
    assert!(
        code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()),
        "{code}"
    );
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let refused = token(client, wrong).await.unwrap_err();
    assert!(
        refused.starts_with("FailedPrecondition UPSTREAM_REFUSED caller refused"),
        "{refused}"
    );
    let right = token(client, &code).await.unwrap();
    let used = token(client, &code).await.unwrap_err();
    assert!(
        used.starts_with("FailedPrecondition UPSTREAM_REFUSED caller refused"),
        "{used}"
    );

    let differs = set_password(client, &right, Some("correct hose"))
        .await
        .unwrap_err();
    assert!(
        differs.starts_with("InvalidArgument INVALID_REQUEST caller not_sent"),
        "{differs}"
    );
    set_password(client, &right, Some("correct horse"))
        .await
        .unwrap();
    let used = set_password(client, &right, None).await.unwrap_err();
    assert!(
        used.starts_with("FailedPrecondition UPSTREAM_REFUSED caller refused"),
        "{used}"
    );
}

#[tokio::test]
async fn a_trader_without_a_question_needs_no_answer() {
    let gateway = start();
    let client = &mut gateway.client().await;
    assert_eq!(question(client, "jane.doe").await, Ok(None));
    reset(client, "jane.doe", None).await.unwrap();
    let first = mailbox(&gateway, "jane.doe").await;
    reset(client, "hello@autoshares.com", None).await.unwrap();
    let second = mailbox(&gateway, "jane.doe").await;
    if first != second {
        assert!(
            token(client, &first).await.is_err(),
            "a new code replaces the previous one"
        );
    }
    let token = token(client, &second).await.unwrap();
    set_password(client, &token, None).await.unwrap();
}

#[tokio::test]
async fn the_sandbox_serves_step_3_of_both_releases() {
    let options = ["serve", "--sandbox", "--upstream-release", "etna"];
    let gateway = Gateway::start(program(&options));
    let client = &mut gateway.client().await;
    reset(client, "jane.doe", None).await.unwrap();
    let code = mailbox(&gateway, "jane.doe").await;
    let url = format!(
        "{}v1.0/users/identifiers/reset/code",
        gateway.announced("sandbox API on ")
    );
    let pin_code = json!({ "Code": code, "Identifier": "ResetPinCode" });
    let refused = http().post(&url).body(pin_code.to_string()).send().await;
    assert_eq!(refused.unwrap().status(), 400, "it resets passwords alone");
    let token = token(client, &code).await.unwrap();
    set_password(client, &token, None).await.unwrap();
}

#[tokio::test]
async fn faults_can_be_asked_for_at_every_step() {
    let gateway = start();
    let client = &mut gateway.client().await;
    for (fault, code) in [
        ("reset", "Unavailable"),
        ("cut-off", "Unavailable"),
        ("half-json", "Internal"),
        ("html-200", "Internal"),
        ("html-502", "Unavailable"),
        ("redirect", "Internal"),
        ("bad-request", "InvalidArgument"),
        ("validation", "InvalidArgument"),
        ("conflict", "Aborted"),
        ("server-error", "Internal"),
        ("key-rejected", "Internal"),
        ("denied", "Internal"),
        ("not-found", "NotFound"),
        ("no-route", "Unimplemented"),
        ("api-version", "Unimplemented"),
        ("rate-limited", "ResourceExhausted"),
        ("unavailable", "Unavailable"),
        ("bad-gateway", "Unavailable"),
        ("timeout", "DeadlineExceeded"),
        ("refused", "FailedPrecondition"),
        ("unexplained", "Unknown"),
    ] {
        let name = format!("fault:{fault}");
        let read = question(client, &name).await.unwrap_err();
        assert_eq!(read.split(' ').next(), Some(code), "{fault}: {read}");
        let asked = token(client, &name).await.unwrap_err();
        let write = if matches!(
            fault,
            "reset" | "cut-off" | "html-502" | "bad-gateway" | "unavailable"
        ) {
            "Unknown"
        } else {
            code
        };
        assert_eq!(asked.split(' ').next(), Some(write), "{fault}: {asked}");
        if fault != "unexplained" {
            // In step 1 this is the documented success.
            assert!(reset(client, &name, None).await.is_err(), "{fault}");
        }
        assert!(set_password(client, &name, None).await.is_err(), "{fault}");
    }
}

#[tokio::test]
async fn a_response_can_break_off_in_the_middle_or_not_come_at_all() {
    let sandbox = Gateway::start_sandbox(&[]);
    let url = sandbox.announced("sandbox API on ").to_owned();
    let ask = async |fault: &str| {
        let path = "v1.0/users/password/secret-question?username=fault:";
        http().get(format!("{url}{path}{fault}")).send().await
    };
    let mut cut_off = ask("cut-off").await.unwrap();
    assert_eq!(cut_off.status(), 200);
    assert!(cut_off.chunk().await.unwrap().is_some());
    assert!(cut_off.chunk().await.is_err(), "the body has no end");
    assert!(ask("reset").await.is_err());
}

#[tokio::test]
async fn the_sandbox_alone_speaks_the_documented_api() {
    let sandbox = Gateway::start_sandbox(&["--app-key", "the-key"]);
    let url = sandbox.announced("sandbox API on ").to_owned();
    let client = http();
    let send = async |method: &str, path: &str, key: &str, body: &str| {
        let request = client
            .request(method.parse().unwrap(), format!("{url}{path}"))
            .header("Et-App-Key", key);
        let response = request.body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null),
        )
    };
    let jane = r#"{"User":"jane.doe"}"#;
    let reset = "v1.0/users/password/reset";
    let key_error = json!({ "error": "Application key is not defined or does not exist" });
    assert_eq!(send("POST", reset, "another", jane).await, (403, key_error));
    assert_eq!(
        send("POST", reset, "the-key", jane).await,
        (200, json!({ "Errors": [], "IsSucceed": false }))
    );
    let incorrect = json!({ "Errors": ["Answer is incorrect, try again."], "ErrorsCode": ["ErrorIncorrectAnswer"], "IsSucceed": false });
    assert_eq!(
        send("POST", reset, "the-key", r#"{"User":"robert.zak"}"#).await,
        (200, incorrect)
    );
    let invalid = json!({ "Message": "The request is invalid." });
    assert_eq!(send("POST", reset, "the-key", "{}").await, (400, invalid));
    let (status, body) = send("GET", reset, "the-key", "").await;
    assert_eq!(
        (status, &body["Error"]["Code"]),
        (405, &json!("UnsupportedApiVersion"))
    );
    let (status, body) = send("PUT", "v1.0/users/passwords/reset", "the-key", "").await;
    assert_eq!(status, 404, "the trailing slash is part of the path");
    assert!(
        body["Message"]
            .as_str()
            .unwrap()
            .starts_with("No HTTP resource was found")
    );
    let question = "v1.0/users/password/secret-question?username=hello%40autoshares.com";
    assert_eq!(
        send("GET", question, "the-key", "").await,
        (200, json!({ "Model": "", "Errors": [], "IsSucceed": true }))
    );
    let differ = r#"{"Token":"t","Password":"one","PasswordConfirmation":"two"}"#;
    let (status, body) = send("PUT", "v1.0/users/passwords/reset/", "the-key", differ).await;
    assert_eq!(status, 422);
    assert!(body["ModelState"]["userPassword.PasswordConfirmation"].is_array());
}

#[tokio::test]
async fn the_gateway_and_its_sandbox_agree_on_the_key() {
    let gateway = Gateway::start(program(&["serve", "--sandbox", "--app-key", "the-key"]));
    let question = "v1.0/users/password/secret-question?username=jane.doe";
    assert_eq!(
        get(&format!(
            "{}{question}",
            gateway.announced("sandbox API on ")
        ))
        .await
        .0,
        403,
        "the sandbox asks for the key"
    );
    let mut client = gateway.client().await;
    let result = Call::Question.make(&mut client, Plain).await;
    assert_eq!(
        result.unwrap_err().code(),
        tonic::Code::NotFound,
        "the key is accepted, the trader is unknown"
    );
}

#[tokio::test]
async fn the_sandbox_follows_the_version_and_the_key_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-key").unwrap();
    let path = file.path().to_str().unwrap();
    let options = [
        "serve",
        "--sandbox",
        "--upstream-api-version",
        "1.1",
        "--app-key-file",
        path,
    ];
    let gateway = Gateway::start(program(&options));
    let client = &mut gateway.client().await;
    reset(client, "jane.doe", None).await.unwrap();
    std::fs::write(file.path(), "second-key").unwrap();
    gateway.logged("the application key has changed").await;
    reset(client, "jane.doe", None).await.unwrap();
}

#[tokio::test]
async fn the_sandbox_alone_follows_its_key_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-key").unwrap();
    let sandbox = Gateway::start_sandbox(&["--app-key-file", file.path().to_str().unwrap()]);
    let url = format!(
        "{}v1.0/users/password/secret-question?username=jane.doe",
        sandbox.announced("sandbox API on ")
    );
    let status = async |key: &str| {
        let request = http().get(&url).header("Et-App-Key", key);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("first-key").await, 200);
    std::fs::write(file.path(), "second-key").unwrap();
    sandbox.logged("the application key has changed").await;
    assert_eq!(status("first-key").await, 403);
    assert_eq!(status("second-key").await, 200);
}

#[tokio::test]
async fn the_commands_to_try_next_name_a_unix_socket_as_grpcurl_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.sock");
    let listen = format!("unix:{}", path.display());
    let gateway = Gateway::start(program(&["serve", "--sandbox", "--listen", &listen]));
    let output = gateway.stopped_with_output().await;
    let target = format!("'unix://{}'", path.display());
    let commands = output.lines().filter(|line| line.contains("grpcurl -"));
    let calls_the_socket = |line: &str| line.contains(&format!("' {target} autoshares."));
    assert_eq!(
        commands.filter(|line| calls_the_socket(line)).count(),
        5,
        "{output}"
    );
}
