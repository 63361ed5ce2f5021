//! An API in a bad state: it answers most requests well, and the others late, wrongly or not at all.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

const JSON: &str = "application/json";
const SUCCESS: &str = r#"{"Model":"ba6b8cac-6738","Errors":[],"IsSucceed":true}"#;

/// How often the API saw each call, by the call's number.
pub(crate) type Seen = Arc<Mutex<HashMap<u64, u32>>>;

/// The behaviour of the API for one request.
enum Behavior {
    /// Sends this and reads the next request.
    Send(String),
    /// Sends this, which may be nothing, and closes the connection.
    SendAndClose(String),
    /// Resets the connection.
    Reset,
}

/// Serves until the runtime ends.
pub(crate) async fn serve(seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve_connection(stream, Arc::clone(&seen)));
        }
    });
    address
}

/// Ends when the peer closes the connection or its behavior does.
async fn serve_connection(mut stream: TcpStream, seen: Seen) -> Option<()> {
    loop {
        let id = read_request(&mut stream).await?;
        *seen.lock().unwrap().entry(id).or_default() += 1;
        match behavior().await {
            Behavior::Send(response) => stream.write_all(response.as_bytes()).await.ok()?,
            Behavior::SendAndClose(response) => {
                return stream.write_all(response.as_bytes()).await.ok();
            }
            Behavior::Reset => return stream.set_zero_linger().ok(),
        }
    }
}

/// A random behavior, after a random delay.
async fn behavior() -> Behavior {
    let (percent, delay) = {
        let mut random = rand::rng();
        (random.random_range(0..100), random.random_range(0..10))
    };
    sleep(Duration::from_millis(delay)).await;
    Behavior::Send(match percent {
        0..75 => response(200, JSON, SUCCESS),
        75..79 => response(503, JSON, ""),
        79..82 => response(500, JSON, r#"{"message":"An error has occurred."}"#),
        82..84 => response(502, "text/html", "<html>Bad Gateway</html>"),
        84..86 => response(429, JSON, ""),
        86..88 => response(200, "text/html", "<html>Maintenance</html>"),
        88..90 => {
            let cut_off = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{";
            return Behavior::SendAndClose(cut_off.to_owned());
        }
        90..92 => return Behavior::SendAndClose("not HTTP at all\r\n\r\n".to_owned()),
        92..94 => {
            // Too late for some callers.
            sleep(Duration::from_millis(delay * 120)).await;
            response(200, JSON, SUCCESS)
        }
        94..96 => return Behavior::Reset,
        96..98 => return Behavior::SendAndClose(String::new()),
        // The gateway expects to keep the connection.
        _ => return Behavior::SendAndClose(response(200, JSON, SUCCESS)),
    })
}

fn response(status: u16, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} S\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The number of the next call; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<u64> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            return text.split("id-").nth(1)?.split('-').next()?.parse().ok();
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn content_length(head: &str) -> usize {
    let mut lengths = head.lines().filter_map(|line| {
        let line = line.to_lowercase();
        line.strip_prefix("content-length: ")?.parse().ok()
    });
    lengths.next().unwrap_or(0)
}
