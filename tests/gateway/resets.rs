//! The limits on resets: nobody's mailbox is flooded with codes.

use std::time::Duration;

use futures_util::future::join_all;
use reset_gateway::proto::{
    ResetPasswordRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tonic::transport::Channel;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, within},
    status::{check, summary},
};

type Client = PasswordResetServiceClient<Channel>;

const TOO_MANY: &str = "ResourceExhausted TOO_MANY_RESETS caller not_sent retry=";
const ANSWER_REQUIRED: &str = r#"{"Errors":["Answer is incorrect, try again."],"ErrorsCode":["ErrorIncorrectAnswer"],"IsSucceed":false}"#;

async fn gateway(api: &Api, options: &[&str]) -> (Gateway, Client) {
    let gateway = Gateway::with(&api.url(), &[&["--app-key", KEY][..], options].concat());
    let client = gateway.client().await;
    (gateway, client)
}

fn accepted() -> Reply {
    Reply::json(200, Call::Reset.success())
}

/// Resets the user's password. Returns the summary of the error, or an empty string.
async fn reset(client: &Client, user: &str, answer: Option<&str>) -> String {
    let request = ResetPasswordRequest {
        user: user.to_owned(),
        secret_question_answer: answer.map(str::to_owned),
        request_id: None,
    };
    match client.clone().reset_password(request).await {
        Ok(_) => String::new(),
        Err(status) => {
            check(&status);
            summary(&status)
        }
    }
}

#[tokio::test]
async fn by_default_five_codes_are_mailed_to_a_user_in_a_quarter_of_an_hour() {
    let api = Api::start(accepted()).await;
    let (_gateway, client) = gateway(&api, &[]).await;
    let calls = (0..300).map(|_| reset(&client, "robert.zak", None));
    let told = join_all(calls).await;
    assert_eq!(told.iter().filter(|told| told.is_empty()).count(), 5);
    let refused = told.iter().filter(|told| !told.is_empty());
    for told in refused {
        assert_eq!(*told, format!("{TOO_MANY}180s"));
    }
    assert_eq!(api.requests().len(), 5);
    for user in ["Robert.Zak ", "ROBERT.ZAK"] {
        assert!(
            reset(&client, user, Some("An answer"))
                .await
                .starts_with(TOO_MANY)
        );
    }
    assert_eq!(reset(&client, "jane.doe", None).await, "");
    // An e-mail address is another name, which the gateway cannot know to be the same user's.
    assert_eq!(reset(&client, "robert.zak@example.com", None).await, "");
}

#[tokio::test]
async fn a_reset_counts_if_a_code_may_have_been_mailed() {
    for (reply, costs) in [
        (accepted(), true),
        (Reply::json(500, ""), true),
        (Reply::json(503, ""), true),
        (Reply::json(200, "<html>"), true),
        (Reply::Last(Vec::new()), true),
        (Reply::json(200, ANSWER_REQUIRED), false),
        (Reply::json(404, ""), false),
        (Reply::json(429, ""), false),
        (
            Reply::json(
                403,
                r#"{"error":"Application key is not defined or does not exist"}"#,
            ),
            false,
        ),
    ] {
        let api = Api::start(reply.clone()).await;
        let (_gateway, client) = gateway(&api, &["--resets", "1/1h"]).await;
        reset(&client, "robert.zak", None).await;
        let next = reset(&client, "robert.zak", None).await;
        assert_eq!(next.starts_with(TOO_MANY), costs, "{reply:?}: {next}");
    }
}

#[tokio::test]
async fn a_wrong_answer_costs_a_guess_and_no_reset() {
    let api = Api::start(Reply::json(200, ANSWER_REQUIRED)).await;
    let options = ["--resets", "1/1h", "--answer-attempts", "2/1h"];
    let (_gateway, client) = gateway(&api, &options).await;
    for _ in 0..2 {
        let told = reset(&client, "robert.zak", Some("wrong")).await;
        assert!(told.contains("SECRET_QUESTION_ANSWER_INCORRECT"), "{told}");
    }
    let told = reset(&client, "robert.zak", Some("wrong")).await;
    assert!(told.contains("TOO_MANY_ATTEMPTS"), "{told}");
    api.reply(accepted());
    assert_eq!(
        reset(&client, "robert.zak", None).await,
        "",
        "none was spent"
    );
    let told = reset(&client, "robert.zak", None).await;
    assert!(told.starts_with(TOO_MANY), "{told}");
}

#[tokio::test]
async fn a_reset_whose_caller_has_left_counts_by_what_the_api_says() {
    let api = Api::start(Reply::Held(bytes(
        200,
        &[],
        Call::Reset.success().as_bytes(),
    )))
    .await;
    let (gateway, client) = gateway(&api, &["--resets", "1/1h"]).await;
    let gone = client.clone();
    let call = tokio::spawn(async move { reset(&gone, "robert.zak", None).await });
    within(|| api.waiting() == 1).await;
    call.abort();
    gateway.logged("CANCELLED").await;
    let next = tokio::spawn(async move { reset(&client, "robert.zak", None).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    api.release();
    assert_eq!(next.await.unwrap(), format!("{TOO_MANY}3600s"));
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn all_users_together_can_be_limited_too() {
    let api = Api::start(accepted()).await;
    let options = ["--resets", "off", "--resets-total", "3/1h"];
    let (_gateway, client) = gateway(&api, &options).await;
    for user in ["one", "two", "three"] {
        assert_eq!(reset(&client, user, None).await, "");
    }
    assert_eq!(
        reset(&client, "four", None).await,
        format!("{TOO_MANY}1200s")
    );
    assert_eq!(api.requests().len(), 3);
}
