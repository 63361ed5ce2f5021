//! The admin listener has bounds of its own: nobody keeps calls or probes from being answered by it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    open_files::gateway_with_files,
    support::{
        api::{Api, Reply},
        attack::{Neighbour, raise_file_limit},
        gateway::{Call, Gateway},
    },
};

fn admin(gateway: &Gateway) -> &str {
    gateway.announced("admin on http://")
}

/// The response to a request on a connection of its own.
async fn exchange(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The listener may have answered before it has read all of it.
    let _ = stream.write_all(request).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_stuck_connections_starve_neither_calls_nor_probes() {
    const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    raise_file_limit();
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = gateway_with_files(256, &api, &[]);
    let neighbour = Neighbour::of(&gateway).await;
    let memory = gateway.memory();
    for _ in 0..3 {
        let mut stuck = Vec::new();
        // A third of them gets an answer and is closed after a while.
        for kind in 0..450 {
            let mut stream = TcpStream::connect(admin(&gateway)).await.unwrap();
            let sent: &[u8] = match kind % 3 {
                0 => b"",
                1 => b"GET /livez HTTP/1.1\r\nhost: ",
                _ => LIVEZ,
            };
            // The listener may already have closed it.
            let _ = stream.write_all(sent).await;
            stuck.push(stream);
        }
        let probe = exchange(admin(&gateway), LIVEZ);
        let response = timeout(Duration::from_secs(15), probe)
            .await
            .expect("a probe is answered");
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        // New callers get in too, over files that the admin listener has not taken.
        let (mut client, call) = (gateway.client().await, Call::Question);
        call.make(&mut client, crate::support::gateway::Plain)
            .await
            .unwrap();
    }
    println!("{}", neighbour.was_served().await);
    let peak = gateway.peak_memory();
    assert!(
        peak < memory + 16 * 1024,
        "{memory} KiB before, {peak} KiB at most"
    );
    assert!(
        !gateway.log().contains("cannot be accepted"),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn a_request_head_has_room_for_16_kib_and_no_more() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    for (length, expected) in [(15 * 1024, "200"), (17 * 1024, "431"), (1 << 20, "431")] {
        let padding = "y".repeat(length);
        let request = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {padding}\r\n\r\n");
        let response = exchange(admin(&gateway), request.as_bytes()).await;
        // Unread bytes make a reset of the end, which can take the response with it.
        let is_lost = response.is_empty() && length > 17 * 1024;
        let status = format!("HTTP/1.1 {expected} ");
        assert!(
            is_lost || response.starts_with(&status),
            "{length}: {response}"
        );
    }
}
