//! SIGHUP: the files that are followed are read at once, and no call notices.

use std::{fs, path::Path, time::Instant};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, Plain, get, within},
};

const CHANGED: &str = "the application key has changed";

/// Writes the key, does what `then` does, and returns when the gateway has logged its nth change.
async fn change_key(gateway: &Gateway, file: &Path, nth: usize, then: impl FnOnce()) {
    fs::write(file, format!("key-{nth}")).unwrap();
    then();
    within(|| gateway.log().matches(CHANGED).count() == nth).await;
}

#[tokio::test]
async fn sighup_reads_a_changed_key_file_at_once() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path();
    fs::write(path, "key-0").unwrap();
    let gateway = Gateway::with(&api.url(), &["--app-key-file", path.to_str().unwrap()]);

    // Without the signal, a change that follows another one waits for a whole interval. Two such
    // changes take longer than five with the signal; if it did nothing, it would be the reverse.
    change_key(&gateway, path, 1, || ()).await;
    let began = Instant::now();
    change_key(&gateway, path, 2, || ()).await;
    change_key(&gateway, path, 3, || ()).await;
    let two_by_polling = began.elapsed();
    let began = Instant::now();
    for nth in 4..=8 {
        change_key(&gateway, path, nth, || gateway.signal("HUP")).await;
    }
    let five_by_signal = began.elapsed();
    assert!(
        five_by_signal < two_by_polling,
        "{five_by_signal:?}, {two_by_polling:?}"
    );

    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap();
    let request = &api.requests()[0];
    assert!(request.contains("et-app-key: key-8\r\n"), "{request}");
}

#[tokio::test]
async fn sighup_ends_no_call_in_flight() {
    let success = bytes(
        200,
        &[("Content-Type", "application/json")],
        Call::Password.success().as_bytes(),
    );
    let api = Api::start(Reply::Held(success)).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { Call::Password.make(&mut client, Plain).await });
    within(|| api.waiting() == 1).await;
    gateway.signal("HUP");
    gateway.logged("SIGHUP").await;
    api.release();
    call.await.unwrap().unwrap();
    assert_eq!(api.requests().len(), 1);
    gateway.stopped().await;
}

#[tokio::test]
async fn a_rejection_of_the_key_before_says_nothing_about_the_new_one() {
    let api = Api::start(Reply::Held(bytes(401, &[], b""))).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "key-0").unwrap();
    let options = ["--app-key-file", file.path().to_str().unwrap()];
    let gateway = Gateway::with(&api.url(), &options);
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { Call::Reset.make(&mut client, Plain).await });
    within(|| api.waiting() == 1).await;
    change_key(&gateway, file.path(), 1, || gateway.signal("HUP")).await;
    api.release();
    call.await.unwrap().unwrap_err();
    let (http_status, page) = get(&format!("{}/readyz", gateway.announced("admin on "))).await;
    assert_eq!(http_status, 200, "{page}");
}

#[tokio::test]
async fn sighup_does_not_end_the_sandbox() {
    let sandbox = Gateway::start_sandbox(&[]);
    sandbox.signal("HUP");
    sandbox.logged("SIGHUP").await;
    sandbox.stopped().await;
}
