//! The limits on guessing codes and answers: how many guesses reach the API, and that others still do.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use reset_gateway::proto::{
    GenerateTokenRequest, ResetPasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Plain, connect, program, within},
    raw::{post, send, status_of},
    status::{check, summary},
};

type Client = PasswordResetServiceClient<Channel>;

const REFUSED: &str = r#"{"Model":null,"Errors":["Code is incorrect"],"ErrorsCode":["ErrorIncorrectCode"],"IsSucceed":false}"#;
/// The status of a refused code. A refused answer has the same, if the API's code is not about answers.
const UPSTREAM_REFUSED: &str = "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorIncorrectCode \"Code is incorrect\"";
const TOO_MANY: &str = "ResourceExhausted TOO_MANY_ATTEMPTS caller not_sent retry=";
/// The code that the fake API accepts.
const RIGHT: &str = "741175";

/// Accepts one code.
fn codes(request: &str) -> Reply {
    if request.contains(RIGHT) {
        Reply::json(200, Call::Token.success())
    } else {
        Reply::json(200, REFUSED)
    }
}

/// Accepts one code, and takes a while to refuse the others.
fn slow_codes(request: &str) -> Reply {
    if request.contains(RIGHT) {
        codes(request)
    } else {
        late(Duration::from_millis(50), REFUSED)
    }
}

fn late(delay: Duration, body: &str) -> Reply {
    Reply::Late(
        delay,
        bytes(
            200,
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        ),
    )
}

/// With limits on guesses alone.
fn gateway(api: &Api, options: &[&str]) -> Gateway {
    let common = ["--app-key", KEY, "--resets", "off"];
    Gateway::with(&api.url(), &[&common[..], options].concat())
}

/// Tries a code. Returns the summary of the error, or an empty string.
async fn try_code(client: &mut Client, code: &str, metadata: &[(&'static str, &str)]) -> String {
    let mut request = Request::new(GenerateTokenRequest {
        request_id: None,
        code: code.to_owned(),
    });
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    told(client.generate_token(request).await)
}

/// Tries an answer to the secret question of a user.
async fn try_answer(client: &mut Client, user: &str) -> String {
    let secret_question_answer = Some("An answer".to_owned());
    told(
        client
            .reset_password(ResetPasswordRequest {
                request_id: None,
                user: user.to_owned(),
                secret_question_answer,
            })
            .await,
    )
}

fn told<T>(result: Result<T, Status>) -> String {
    result.map_or_else(
        |status| {
            check(&status);
            summary(&status)
        },
        |_| String::new(),
    )
}

/// Tries a code with a deadline of 500 ms. It uses raw HTTP/2, because a client with a timer of its own
/// might give up first.
async fn within_500_ms(gateway: &Gateway) -> String {
    let path = format!(
        "/autoshares.passwordreset.v1.PasswordResetService/{}",
        Call::Token.rpc()
    );
    let request = post(&path, "application/grpc").header("grpc-timeout", "500m");
    status_of(&send(gateway, request, Call::Token.framed()).await.1)
}

/// Counts the requests with a wrong code.
fn wrong(requests: &[String]) -> usize {
    requests
        .iter()
        .filter(|request| !request.contains(RIGHT))
        .count()
}

#[tokio::test]
async fn a_guesser_with_many_connections_is_limited_and_others_are_not() {
    let api = Api::start(Reply::By(slow_codes)).await;
    let limits = [
        "--code-attempts",
        "20/1h",
        "--code-attempts-total",
        "30/1h",
        "--caller-metadata",
        "x-caller",
    ];
    let gateway = gateway(
        &api,
        &[
            &limits[..],
            &["--max-in-flight", "4096", "--timeout", "60s"],
        ]
        .concat(),
    );
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(gateway.client().await);
    }
    let guess = async |n: usize, caller: &str| {
        let (code, number) = (format!("{n:06}"), n.to_string());
        let metadata = [
            ("x-caller", caller),
            ("x-metadata", number.as_str()),
            ("user-agent", number.as_str()),
        ];
        try_code(&mut clients[n % clients.len()].clone(), &code, &metadata).await
    };
    let guessing = async {
        let mut guesses: FuturesUnordered<_> = (0..3000).map(|n| guess(n, "guesser")).collect();
        let mut refused = 0;
        while let Some(told) = guesses.next().await {
            if told == UPSTREAM_REFUSED {
                refused += 1;
            } else {
                assert!(told.starts_with(TOO_MANY), "{told}");
            }
        }
        refused
    };
    let mut client = gateway.client().await;
    let honest = async {
        for _ in 0..50 {
            assert_eq!(
                try_code(&mut client, RIGHT, &[("x-caller", "honest")]).await,
                ""
            );
        }
    };
    let (refused, ()) = tokio::join!(guessing, honest);
    let requests = api.requests();
    assert_eq!((refused, wrong(&requests), requests.len()), (20, 20, 70));

    // A guesser who can pretend to be many is limited by the total.
    let callers: Vec<_> = (0..500).map(|n| format!("caller {n}")).collect();
    join_all(
        callers
            .iter()
            .enumerate()
            .map(|(n, caller)| guess(n, caller)),
    )
    .await;
    assert_eq!(wrong(&api.requests()), 10);
}

#[tokio::test]
async fn correct_codes_and_answers_are_not_limited() {
    let api = Api::start(Reply::By(codes)).await;
    let limits = [
        "--code-attempts",
        "5/1h",
        "--code-attempts-total",
        "5/1h",
        "--answer-attempts",
        "5/1h",
    ];
    let gateway = gateway(
        &api,
        &[
            &limits[..],
            &["--max-in-flight", "4096", "--timeout", "60s"],
        ]
        .concat(),
    );
    let client = gateway.client().await;
    let told =
        join_all((0..2000).map(|_| async { try_code(&mut client.clone(), RIGHT, &[]).await }))
            .await;
    assert!(
        told.iter().all(String::is_empty),
        "{:?}",
        told.iter().find(|told| !told.is_empty())
    );
    assert_eq!(api.requests().len(), 2000);

    api.reply(Reply::json(200, Call::ResetWithAnswer.success()));
    let told =
        join_all((0..500).map(|_| async { try_answer(&mut client.clone(), "robert.zak").await }))
            .await;
    assert!(told.iter().all(String::is_empty));
}

#[tokio::test]
async fn an_outage_costs_nothing() {
    let api = Api::start(Reply::Silence).await;
    let limits = [
        "--code-attempts",
        "1/1h",
        "--code-attempts-total",
        "1/1h",
        "--answer-attempts",
        "1/1h",
    ];
    let gateway = gateway(&api, &[&limits[..], &["--timeout", "500ms"]].concat());
    let mut client = gateway.client().await;
    let outages = [
        Reply::json(503, ""),
        Reply::json(500, ""),
        Reply::json(500, r#"{"message":"m","error":"Unexpected server error"}"#),
        Reply::json(502, ""),
        Reply::json(504, ""),
        Reply::json(429, ""),
        Reply::json(
            403,
            r#"{"error":"Application key is not defined or does not exist"}"#,
        ),
        Reply::Last(Vec::new()),
        Reply::Silence,
    ];
    for reply in outages {
        api.reply(reply);
        for _ in 0..2 {
            for told in [
                try_code(&mut client, "000000", &[]).await,
                try_answer(&mut client, "robert.zak").await,
            ] {
                assert!(
                    !told.is_empty() && !told.contains("TOO_MANY_ATTEMPTS"),
                    "{told}"
                );
            }
        }
        assert_eq!(api.requests().len(), 4);
    }

    // Neither is a call that asks whether there is a question, nor one that is not sent.
    api.reply(Reply::json(
        200,
        r#"{"Errors":["Answer is incorrect"],"IsSucceed":false}"#,
    ));
    for _ in 0..3 {
        let told = told(client.reset_password(reset_without_answer()).await);
        assert!(told.contains("SECRET_QUESTION_ANSWER_REQUIRED"), "{told}");
        assert!(
            try_code(&mut client, "", &[])
                .await
                .contains("INVALID_REQUEST")
        );
    }

    // Refusals cost.
    api.reply(Reply::json(200, REFUSED));
    assert_eq!(try_code(&mut client, "000000", &[]).await, UPSTREAM_REFUSED);
    assert_eq!(
        try_code(&mut client, "000001", &[]).await,
        format!("{TOO_MANY}3600s")
    );
    assert_eq!(
        try_answer(&mut client, "robert.zak").await,
        UPSTREAM_REFUSED
    );
    assert_eq!(
        try_answer(&mut client, "robert.zak").await,
        format!("{TOO_MANY}3600s")
    );
}

fn reset_without_answer() -> ResetPasswordRequest {
    ResetPasswordRequest {
        request_id: None,
        user: "robert.zak".to_owned(),
        secret_question_answer: None,
    }
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_costs_nothing() {
    let api = Api::start(Reply::Silence).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let gateway = Gateway::with(
        &format!("http://{closed}"),
        &["--app-key", KEY, "--code-attempts", "1/1h"],
    );
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert!(
            try_code(&mut client, "000000", &[])
                .await
                .contains("UPSTREAM_UNREACHABLE")
        );
    }
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn any_other_failure_costs() {
    let api = Api::start(Reply::Silence).await;
    for (http_status, body) in [
        (200, REFUSED),
        (200, r#"{"Errors":[],"IsSucceed":false}"#),
        (
            200,
            r#"{"Errors":["No."],"StatusCode":"NotFound","IsSucceed":false}"#,
        ),
        (400, r#"{"Message":"The request is invalid."}"#),
        (403, "<html>"),
        (404, ""),
        (409, ""),
        (410, ""),
        (302, ""),
        (200, "<html>"),
        (200, "{"),
        (408, REFUSED),
        (429, REFUSED),
        (500, REFUSED),
        (503, REFUSED),
        (999, ""),
        (
            404,
            r#"{"Message":"No HTTP resource was found that matches the request URI 'https://api'."}"#,
        ),
        (422, r#"{"Message":"m","ModelState":{"Code":["wrong"]}}"#),
    ] {
        api.reply(Reply::json(http_status, body));
        let gateway = gateway(&api, &["--code-attempts", "1/1h"]);
        let mut client = gateway.client().await;
        let told = try_code(&mut client, "000000", &[]).await;
        assert!(
            told.contains("UPSTREAM_") || told.contains("VALIDATION_FAILED"),
            "{told}"
        );
        assert_eq!(
            try_code(&mut client, "000001", &[]).await,
            format!("{TOO_MANY}3600s"),
            "{http_status} {body}"
        );
        assert_eq!(api.requests().len(), 1);
    }
}

#[tokio::test]
async fn answers_are_limited_for_each_user_however_the_name_is_spelled() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let gateway = gateway(&api, &["--answer-attempts", "3/1h"]);
    let mut clients = [gateway.client().await, gateway.client().await];
    for (n, user) in ["robert.zak", "Robert.ZAK", " robert.zak "]
        .into_iter()
        .enumerate()
    {
        assert_eq!(
            try_answer(&mut clients[n % 2], user).await,
            UPSTREAM_REFUSED,
            "{user:?}"
        );
    }
    for user in ["robert.zak", "ROBERT.ZAK\t", "ｒobert.zak"] {
        assert!(
            try_answer(&mut clients[0], user)
                .await
                .starts_with(TOO_MANY),
            "{user:?}"
        );
    }
    assert_eq!(api.requests().len(), 3);
    assert_eq!(
        try_answer(&mut clients[0], "jane.doe").await,
        UPSTREAM_REFUSED
    );
    // A call without an answer is not a guess.
    assert_eq!(
        told(clients[0].reset_password(reset_without_answer()).await),
        UPSTREAM_REFUSED
    );
}

#[tokio::test]
async fn each_limit_can_be_turned_off() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let all = [
        "--code-attempts",
        "--code-attempts-total",
        "--answer-attempts",
    ];
    for on in [None, Some(0), Some(1), Some(2)] {
        let value = |n| if Some(n) == on { "2/1h" } else { "off" };
        let limits: Vec<_> = all
            .iter()
            .enumerate()
            .flat_map(|(n, option)| [*option, value(n)])
            .collect();
        let gateway = gateway(&api, &limits);
        let mut client = gateway.client().await;
        for n in 0..100 {
            let (code, answer) = (
                try_code(&mut client, "000000", &[]).await,
                try_answer(&mut client, "u").await,
            );
            let (code_is_limited, answer_is_limited) = (matches!(on, Some(0 | 1)), on == Some(2));
            assert_eq!(
                code.starts_with(TOO_MANY),
                code_is_limited && n >= 2,
                "{on:?} {code}"
            );
            assert_eq!(
                answer.starts_with(TOO_MANY),
                answer_is_limited && n >= 2,
                "{on:?} {answer}"
            );
        }
    }
}

#[tokio::test]
async fn the_default_limits_are_those_of_the_readme() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let gateway = gateway(&api, &["--caller-metadata", "x-caller"]);
    let mut client = gateway.client().await;
    for (caller, sent) in [("one", 20), ("two", 20), ("three", 20), ("four", 0)] {
        for _ in 0..25 {
            try_code(&mut client, "000000", &[("x-caller", caller)]).await;
        }
        assert_eq!(api.requests().len(), sent, "{caller}");
    }
    for _ in 0..10 {
        try_answer(&mut client, "robert.zak").await;
    }
    assert_eq!(api.requests().len(), 5);
}

#[tokio::test]
async fn a_call_passes_after_the_retry_delay() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let gateway = gateway(
        &api,
        &["--code-attempts", "1/2s", "--code-attempts-total", "off"],
    );
    let mut client = gateway.client().await;
    assert_eq!(try_code(&mut client, "000000", &[]).await, UPSTREAM_REFUSED);
    let told = try_code(&mut client, "000001", &[]).await;
    let seconds = told
        .strip_prefix(TOO_MANY)
        .and_then(|rest| rest.strip_suffix('s'))
        .unwrap();
    tokio::time::sleep(Duration::from_secs(seconds.parse().unwrap())).await;
    assert_eq!(try_code(&mut client, "000002", &[]).await, UPSTREAM_REFUSED);
}

#[tokio::test]
async fn a_call_waits_for_pending_attempts() {
    let api = Api::start(late(Duration::from_millis(300), Call::Token.success())).await;
    let gateway = gateway(&api, &["--code-attempts", "1/1h"]);
    let client = gateway.client().await;
    let two = async || {
        let (mut first, mut second) = (client.clone(), client.clone());
        let (first, second) = tokio::join!(
            try_code(&mut first, "000000", &[]),
            try_code(&mut second, "000001", &[])
        );
        let mut told = [first, second];
        told.sort();
        told
    };
    assert_eq!(two().await, ["", ""]);
    assert_eq!(api.requests().len(), 2);
    api.reply(late(Duration::from_millis(300), REFUSED));
    assert_eq!(
        two().await,
        [UPSTREAM_REFUSED.to_owned(), format!("{TOO_MANY}3600s")]
    );
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn a_call_that_waits_until_its_deadline_has_sent_nothing() {
    let api = Api::start(Reply::Silence).await;
    let gateway = gateway(&api, &["--code-attempts", "1/1h", "--timeout", "3s"]);
    let (mut client, mut waiting) = (gateway.client().await, gateway.client().await);
    let first = tokio::spawn(async move { try_code(&mut client, "000000", &[]).await });
    let mut sent = 0;
    within(|| {
        sent += api.requests().len();
        sent == 1
    })
    .await;
    assert_eq!(
        within_500_ms(&gateway).await,
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent"
    );
    assert_eq!(
        first.await.unwrap(),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown"
    );
    assert!(api.requests().is_empty());
    // Neither the call that waited nor the one without an answer has cost anything.
    api.reply(Reply::json(200, Call::Token.success()));
    assert_eq!(try_code(&mut waiting, "000002", &[]).await, "");
}

#[tokio::test]
async fn what_the_api_says_settles_a_guess_whose_caller_has_left() {
    for (body, cost) in [(REFUSED, 2), (Call::Token.success(), 0)] {
        let held = bytes(200, &[], body.as_bytes());
        let api = Api::start(Reply::Held(held)).await;
        let gateway = gateway(&api, &["--code-attempts", "2/1h"]);
        let mut client = gateway.client().await;

        let mut gone = client.clone();
        let call = tokio::spawn(async move { try_code(&mut gone, "000000", &[]).await });
        within(|| api.waiting() == 1).await;
        call.abort();
        gateway.logged("CANCELLED").await;
        assert_eq!(
            within_500_ms(&gateway).await,
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown"
        );
        assert_eq!(api.waiting(), 2, "they go on");

        let last = tokio::spawn(async move { try_code(&mut client, "000002", &[]).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(api.waiting(), 2, "both tokens are reserved");
        api.reply(Reply::json(200, Call::Token.success()));
        api.release();
        let told = last.await.unwrap();
        assert_eq!(told.starts_with(TOO_MANY), cost == 2, "{told}");
    }
}

#[tokio::test]
async fn a_slow_api_locks_nobody_out() {
    let api = Api::start(Reply::Silence).await;
    let limits = ["--code-attempts", "3/1h", "--timeout", "600ms"];
    let gateway = gateway(&api, &limits);
    for _ in 0..2 {
        let calls = (0..3).map(|_| within_500_ms(&gateway));
        for told in join_all(calls).await {
            assert_eq!(told, "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown");
        }
        within(|| api.waiting() == 0).await;
    }
    api.reply(Reply::json(200, Call::Token.success()));
    assert_eq!(try_code(&mut gateway.client().await, RIGHT, &[]).await, "");
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_waits_is_never_sent() {
    let api = Api::start(late(Duration::from_secs(1), Call::Token.success())).await;
    let gateway = gateway(&api, &["--code-attempts", "1/1h"]);
    let client = gateway.client().await;
    let spawn_call = |code: &'static str| {
        let mut client = client.clone();
        tokio::spawn(async move { try_code(&mut client, code, &[]).await })
    };
    let first = spawn_call("000000");
    within(|| api.requests().len() == 1).await;
    let gone: Vec<_> = (0..50).map(|_| spawn_call("000001")).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    gone.iter().for_each(tokio::task::JoinHandle::abort);
    let last = spawn_call("000002");
    assert_eq!(first.await.unwrap(), "");
    assert_eq!(last.await.unwrap(), "");
    assert_eq!(api.requests().len(), 1, "no cancelled call was sent");
}

#[tokio::test]
async fn callers_are_told_apart_by_metadata_or_else_by_connection() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("gateway.sock").display());
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &socket,
        "--code-attempts",
        "1/1h",
    ];
    let gateway = gateway(
        &api,
        &[&options[..], &["--caller-metadata", "x-caller"]].concat(),
    );
    // The address and the socket's user are one caller each, over any number of connections.
    for address in [gateway.address(), &socket] {
        for expected in [UPSTREAM_REFUSED, TOO_MANY, TOO_MANY] {
            let mut client = PasswordResetServiceClient::new(connect(address).await);
            let told = try_code(&mut client, "000000", &[("x-other", "a")]).await;
            assert!(told.starts_with(expected), "{address}: {told}");
        }
    }
    for (caller, expected) in [
        ("a", UPSTREAM_REFUSED),
        ("b", UPSTREAM_REFUSED),
        ("a", TOO_MANY),
        ("b", TOO_MANY),
    ] {
        let told = try_code(
            &mut gateway.client().await,
            "000000",
            &[("x-caller", caller)],
        )
        .await;
        assert!(told.starts_with(expected), "{caller}: {told}");
    }
}

#[tokio::test]
async fn the_sandbox_has_the_same_limits() {
    let gateway = Gateway::start(program(&["serve", "--sandbox", "--code-attempts", "1/1h"]));
    let mut client = gateway.client().await;
    assert_eq!(
        Call::Token
            .make(&mut client, Plain)
            .await
            .unwrap_err()
            .code(),
        Code::FailedPrecondition
    );
    assert!(
        try_code(&mut client, "000001", &[])
            .await
            .starts_with(TOO_MANY)
    );
}

#[tokio::test]
async fn no_user_and_no_caller_is_logged() {
    let api = Api::start(Reply::json(200, REFUSED)).await;
    let limits = [
        "--code-attempts",
        "1/1h",
        "--answer-attempts",
        "1/1h",
        "--caller-metadata",
        "x-caller",
    ];
    let mut command = program(
        &[
            &["serve", "--upstream-url", &api.url(), "--app-key", KEY][..],
            &limits,
        ]
        .concat(),
    );
    command.env("RUST_LOG", "trace");
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        try_code(&mut client, "canary-code", &[("x-caller", "canary-caller")]).await;
        try_answer(&mut client, "canary-user").await;
    }
    let log = gateway.stopped().await;
    assert_eq!(log.matches("TOO_MANY_ATTEMPTS").count(), 4, "{log}");
    assert!(!log.contains("canary"), "{log}");
}
