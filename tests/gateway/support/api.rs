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
#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    requests: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicUsize>,
    waiting: Arc<AtomicUsize>,
}

impl Api {
    pub async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self::recording(listener.local_addr().unwrap(), reply);
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().converse(stream));
            }
        });
        api
    }

    /// The same over TLS.
    pub async fn start_tls(reply: Reply, tls: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Self::recording(listener.local_addr().unwrap(), reply);
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = tls.accept(stream).await {
                    tokio::spawn(served.clone().converse(stream));
                }
            }
        });
        api
    }

    fn recording(address: SocketAddr, reply: Reply) -> Self {
        Self {
            address,
            reply: Arc::new(Mutex::new(reply)),
            requests: Arc::default(),
            closed: Arc::default(),
            waiting: Arc::default(),
        }
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

    /// How many requests wait for their reply.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn converse(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Some(request) = read_request(&mut stream).await {
            self.requests.lock().unwrap().push(request);
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let reply = self.reply.lock().unwrap().clone();
            let goes_on = self.answer(&mut stream, reply).await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if !goes_on {
                return;
            }
        }
    }

    /// Whether the connection goes on.
    async fn answer(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), reply: Reply) -> bool {
        let (delay, bytes, is_last) = match reply {
            Reply::Bytes(bytes) => (None, bytes, false),
            Reply::Last(bytes) => (None, bytes, true),
            Reply::Late(delay, bytes) => (Some(delay), bytes, false),
            Reply::Silence => (Some(Duration::MAX), Vec::new(), true),
        };
        if let Some(delay) = delay {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                // The other side has had enough.
                _ = stream.read_u8() => {
                    self.closed.fetch_add(1, Ordering::SeqCst);
                    return false;
                }
            }
        }
        stream.write_all(&bytes).await.is_ok() && !is_last
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
