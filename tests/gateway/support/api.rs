//! A fake REST API, at the level of bytes: it records each request and sends the reply that it was given.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

/// What the fake API does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Answers with nothing, ever.
    Silence,
    /// Waits, then sends these bytes.
    Late(Duration, Vec<u8>),
    /// Does what the function makes of the request.
    By(fn(&str) -> Self),
}

impl Reply {
    /// An answer with a JSON body.
    pub fn json(http_status: u16, body: &str) -> Self {
        Self::with(http_status, &[("Content-Type", "application/json; charset=utf-8")], body)
    }

    /// An answer with these headers.
    pub fn with(http_status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::Bytes(bytes(http_status, headers, body.as_bytes()))
    }
}

/// The bytes of an answer.
pub fn bytes(http_status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut bytes = format!("HTTP/1.1 {http_status} Status\r\n{headers}").into_bytes();
    if http_status != 204 {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// The fake API; ends with the runtime of its test.
pub struct Api {
    pub address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicUsize>,
}

impl Api {
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self::recording(listener.local_addr().unwrap(), reply);
        let (reply, requests, closed) = (Arc::clone(&api.reply), Arc::clone(&api.requests), Arc::clone(&api.closed));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&reply), Arc::clone(&requests), Arc::clone(&closed)));
            }
        });
        api
    }

    /// The same over TLS.
    pub async fn start_tls(reply: Reply, tls: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self::recording(listener.local_addr().unwrap(), reply);
        let (reply, requests, closed) = (Arc::clone(&api.reply), Arc::clone(&api.requests), Arc::clone(&api.closed));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = tls.accept(stream).await {
                    tokio::spawn(converse(stream, Arc::clone(&reply), Arc::clone(&requests), Arc::clone(&closed)));
                }
            }
        });
        api
    }

    fn recording(address: SocketAddr, reply: Reply) -> Self {
        Self { address, reply: Arc::new(Mutex::new(reply)), requests: Arc::default(), closed: Arc::default() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn reply(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// The requests since the last time, head and body as they came.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// How many connections were closed while they waited for a reply that never came.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: Arc<Mutex<Reply>>,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicUsize>,
) {
    while let Some(request) = read_request(&mut stream).await {
        let mut reply = reply.lock().unwrap().clone();
        while let Reply::By(choose) = reply {
            reply = choose(&request);
        }
        requests.lock().unwrap().push(request);
        let written = match reply {
            Reply::By(_) => unreachable!("chosen above"),
            Reply::Bytes(bytes) => stream.write_all(&bytes).await,
            Reply::Last(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Late(delay, bytes) => {
                tokio::time::sleep(delay).await;
                stream.write_all(&bytes).await
            }
            Reply::Silence => {
                // Until the other side has had enough.
                let _ = stream.read_u8().await;
                closed.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

/// One request; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(String::from_utf8(bytes).unwrap());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
