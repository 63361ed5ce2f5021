//! Restarts under load lose no accepted call.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reset_gateway::proto::{
    GenerateTokenRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, connect, within},
};

const RESTARTS: usize = 100;
/// How many gateways are restarted at a time.
const AT_ONCE: usize = 4;
const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_sigterms_under_load_lose_no_call_that_was_accepted() {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..AT_ONCE {
        let next = Arc::clone(&next);
        workers.push(tokio::spawn(async move {
            while let round @ 0..RESTARTS = next.fetch_add(1, Ordering::SeqCst) {
                restart(round).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}

async fn restart(round: usize) {
    let success = bytes(
        200,
        &[("Content-Type", "application/json")],
        Call::Token.success().as_bytes(),
    );
    let api = Api::start(Reply::Late(Duration::from_millis(3), success)).await;
    let mut gateway = Gateway::before(&api.url());
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = HealthClient::new(gateway.channel().await)
        .watch(request)
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();

    let (stopped, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Mutex::new(HashSet::new())),
    );
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let client = PasswordResetServiceClient::new(connect(gateway.address()).await);
        callers.push(tokio::spawn(call_until(
            client,
            caller,
            Arc::clone(&stopped),
            Arc::clone(&answered),
        )));
    }
    // While calls are in flight.
    within(|| answered.lock().unwrap().len() > 10 + round % 20).await;
    gateway.signal("TERM");
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(
        !gateway.log().contains("drain time is over"),
        "{}",
        gateway.log()
    );
    stopped.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let accepted: HashSet<_> = api
        .requests()
        .iter()
        .map(|request| code_in(request))
        .collect();
    let lost: Vec<_> = accepted
        .difference(&answered.lock().unwrap())
        .cloned()
        .collect();
    assert!(
        lost.is_empty(),
        "round {round}: the API saw {lost:?}, whose callers have no response: {}",
        gateway.log()
    );
}

/// Makes calls with one code after the other, and collects the codes that were answered.
async fn call_until(
    mut client: PasswordResetServiceClient<Channel>,
    caller: usize,
    stopped: Arc<AtomicBool>,
    answered: Arc<Mutex<HashSet<String>>>,
) {
    for number in 0.. {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let code = format!("{caller}-{number}");
        match client
            .generate_token(GenerateTokenRequest {
                request_id: None,
                code: code.clone(),
            })
            .await
        {
            Ok(_) => drop(answered.lock().unwrap().insert(code)),
            // The gateway has stopped.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The code in the body of a request.
fn code_in(request: &str) -> String {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["Code"].as_str().unwrap().to_owned()
}
