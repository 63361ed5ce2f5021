//! The application key: a rejected one makes the gateway not ready, and a changed file of it is read again.

use std::time::{Duration, Instant};

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Metadata, Plain, UNLIMITED, get, run},
};

/// The response of `/readyz`.
async fn readiness(gateway: &Gateway) -> (u16, String) {
    get(&format!("{}/readyz", gateway.announced("admin on "))).await
}

/// Makes calls whose key the API rejects, which makes the gateway not ready.
async fn reject_key(api: &Api, gateway: &Gateway) {
    api.reply(Reply::json(401, ""));
    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        readiness(gateway).await,
        (503, "not ready: application key rejected\n".to_owned())
    );
}

#[tokio::test]
async fn a_rejected_key_makes_the_gateway_not_ready() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    reject_key(&api, &gateway).await;
    let probe = run(&["probe", "--listen", gateway.address()]);
    assert_eq!(probe.status.code(), Some(1));
    assert!(
        String::from_utf8(probe.stderr)
            .unwrap()
            .contains("NOT_SERVING")
    );
    let live = format!("{}/livez", gateway.announced("admin on "));
    assert_eq!(get(&live).await.0, 200);
    gateway.logged("APP_KEY_REJECTED").await;
    assert!(
        gateway.log().contains("\"level\":\"ERROR\""),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn a_response_from_the_api_shows_that_the_key_works() {
    const MESSAGE: &str = r#"{"Message":"Resource was not found"}"#;
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(
        &api.url(),
        &[&["--app-key", KEY][..], &UNLIMITED[..]].concat(),
    );
    let mut client = gateway.client().await;
    for (http_status, body) in [
        (200, Call::Token.success()),
        (200, r#"{"Errors":["No."],"IsSucceed":false}"#),
        (200, r#"{"Errors":[],"IsSucceed":false}"#),
        (400, MESSAGE),
        (400, r#"{"Error":{"Code":"UnsupportedApiVersion"}}"#),
        (400, r#"{"Errors":["No."],"IsSucceed":false}"#),
        (403, r#"{"Errors":["No."],"IsSucceed":false}"#),
        (404, MESSAGE),
        (409, MESSAGE),
        (429, r#"{"errors":["No."],"isSucceed":false}"#),
        (422, r#"{"ModelState":{"Code":["Code is required"]}}"#),
        (500, r#"{"message":"A fault","error":"at System.Web"}"#),
        (503, r#"{"Errors":["No."],"IsSucceed":false}"#),
    ] {
        reject_key(&api, &gateway).await;
        api.reply(Reply::json(http_status, body));
        let _ = Call::Token.make(&mut client, Plain).await;
        assert_eq!(
            readiness(&gateway).await.0,
            200,
            "{http_status} {body} comes from the API"
        );
    }
}

#[tokio::test]
async fn a_response_that_may_come_from_a_proxy_does_not_show_that_the_key_works() {
    const MESSAGE: &str = r#"{"Message":"Something is wrong"}"#;
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(
        &api.url(),
        &[&["--app-key", KEY][..], &UNLIMITED[..]].concat(),
    );
    reject_key(&api, &gateway).await;
    let mut client = gateway.client().await;
    let html = |http_status| {
        let headers = [("Content-Type", "text/html")];
        Reply::with(http_status, &headers, "<html>Welcome</html>")
    };
    let replies = [200, 400, 403, 404, 409, 422, 500, 502].map(html);
    let replies = replies.into_iter().chain([
        Reply::with(404, &[("Content-Type", "text/html")], MESSAGE),
        Reply::json(200, "{}"),
        Reply::json(200, r#"{"Model":7,"Errors":[],"IsSucceed":true}"#),
        Reply::json(200, r#"{"Model":"#),
        Reply::json(204, ""),
        Reply::json(302, ""),
        Reply::json(400, r#"{"status":"bad"}"#),
        Reply::json(403, MESSAGE),
        Reply::json(404, ""),
        Reply::json(404, "[]"),
        Reply::json(408, MESSAGE),
        Reply::json(429, MESSAGE),
        Reply::json(500, ""),
        Reply::json(502, MESSAGE),
        Reply::json(503, MESSAGE),
        Reply::json(504, MESSAGE),
        Reply::Last(Vec::new()),
    ]);
    for reply in replies {
        api.reply(reply.clone());
        Call::Token.make(&mut client, Plain).await.unwrap_err();
        assert_eq!(readiness(&gateway).await.0, 503, "{reply:?}");
    }
}

#[tokio::test]
async fn a_rejected_key_counts_for_30_seconds_from_the_last_rejection() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    reject_key(&api, &gateway).await;
    let first = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    reject_key(&api, &gateway).await;
    tokio::time::sleep_until((first + Duration::from_secs(31)).into()).await;
    assert_eq!(
        readiness(&gateway).await.0,
        503,
        "the last one still counts"
    );
    while readiness(&gateway).await.0 == 503 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_rejected_key_of_a_caller_does_not_affect_readiness() {
    let api = Api::start(Reply::json(401, "")).await;
    let gateway = Gateway::with(&api.url(), &[]);
    let metadata = Metadata(&[("et-app-key", "callers-key")]);
    Call::Reset
        .make(&mut gateway.client().await, metadata)
        .await
        .unwrap_err();
    assert_eq!(readiness(&gateway).await.0, 200);
}

#[tokio::test]
async fn a_key_file_is_read_again_when_it_changes() {
    let api = Api::start(Reply::json(401, "")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "first-key\n").unwrap();
    let gateway = Gateway::with(&api.url(), &["--app-key-file", file.to_str().unwrap()]);
    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    assert!(api.requests()[0].contains("et-app-key: first-key\r\n"));
    assert_eq!(readiness(&gateway).await.0, 503);

    std::fs::write(&file, "").unwrap();
    gateway.logged("the last one stays").await;
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    assert!(api.requests()[0].contains("et-app-key: first-key\r\n"));

    std::fs::write(&file, "second-key").unwrap();
    gateway.logged("the application key has changed").await;
    assert_eq!(readiness(&gateway).await.0, 200, "a new key is worth a try");
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    assert!(api.requests()[0].contains("et-app-key: second-key\r\n"));
    assert!(!gateway.log().contains("first-key") && !gateway.log().contains("second-key"));
}
