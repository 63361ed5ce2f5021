//! A fake REST API, at the level of bytes: it records each request and sends the reply that it was given.

use std::{
    collections::VecDeque,
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
    sync::{Notify, futures::Notified, watch},
    task::JoinHandle,
};

use crate::support::gateway::within;

/// The fake API's reply to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Never responds.
    Silence,
    /// Waits, then sends these bytes.
    Late(Duration, Vec<u8>),
    /// Waits to be released, then sends these bytes.
    Held(Vec<u8>),
    /// Does what the function makes of the request.
    By(fn(&str) -> Self),
}

impl Reply {
    /// A response with a JSON body.
    pub fn json(http_status: u16, body: &str) -> Self {
        Self::with(
            http_status,
            &[("Content-Type", "application/json; charset=utf-8")],
            body,
        )
    }

    /// A response with these headers.
    pub fn with(http_status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::Bytes(bytes(http_status, headers, body.as_bytes()))
    }
}

/// The bytes of a response.
pub fn bytes(http_status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
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
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

struct Shared {
    /// The replies to the next requests, and the one to all that follow.
    first: Mutex<VecDeque<Reply>>,
    reply: Mutex<Reply>,
    requests: Mutex<Vec<String>>,
    certificates: Mutex<Vec<Vec<u8>>>,
    closed: AtomicUsize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    hang_up: watch::Sender<HangUp>,
    release: Notify,
}

/// How the API closes a connection on which nothing is under way.
#[derive(Clone, Copy, Debug)]
pub enum HangUp {
    /// With a FIN, as servers do.
    Finish,
    /// With an RST, as load balancers do.
    Reset,
}

impl Api {
    pub async fn start(reply: Reply) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").await.unwrap(), reply)
    }

    /// The same at an address where nobody listens.
    pub async fn start_at(address: SocketAddr, reply: Reply) -> Self {
        Self::at(TcpListener::bind(address).await.unwrap(), reply)
    }

    fn at(listener: TcpListener, reply: Reply) -> Self {
        let (address, shared) = (listener.local_addr().unwrap(), Shared::new(reply));
        let serving = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    if let Some(HangUp::Reset) = converse(&mut stream, &shared).await {
                        stream.set_zero_linger().unwrap();
                    }
                    drop(stream);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            shared,
            listener,
        }
    }

    /// The same over TLS.
    pub async fn start_tls(reply: Reply, tls: tokio_rustls::TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Shared::new(reply));
        let serving = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = tls.accept(stream).await {
                    let shown = stream.get_ref().1.peer_certificates();
                    let shown = shown.map(|chain| chain[0].to_vec());
                    serving.certificates.lock().unwrap().extend(shown);
                    let shared = Arc::clone(&serving);
                    tokio::spawn(async move { converse(&mut stream, &shared).await });
                }
            }
        });
        Self {
            address,
            shared,
            listener,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn reply(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// Sends these replies to the next requests, each to one.
    pub fn first(&self, replies: impl IntoIterator<Item = Reply>) {
        *self.shared.first.lock().unwrap() = replies.into_iter().collect();
    }

    /// The requests since the last time, head and body as they came.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }

    /// The certificate of each client that has shown one, in the order of their connections.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        self.shared.certificates.lock().unwrap().clone()
    }

    /// How many connections were closed while they waited for a reply that never came.
    pub fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// How many requests wait for their reply.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// Sends the replies that are held now.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// Closes all connections on which nothing is under way.
    pub async fn hang_up(&self, how: HangUp) {
        self.shared.hang_up.send_replace(how);
        within(|| self.shared.open.load(Ordering::SeqCst) == 0).await;
    }

    /// Listens no more, and closes all connections on which nothing is under way. The port is free again.
    pub async fn stop(self) {
        self.hang_up(HangUp::Finish).await;
        self.listener.abort();
        let _ = self.listener.await;
    }
}

impl Shared {
    fn new(reply: Reply) -> Arc<Self> {
        Arc::new(Self {
            first: Mutex::default(),
            reply: Mutex::new(reply),
            requests: Mutex::default(),
            certificates: Mutex::default(),
            closed: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            hang_up: watch::Sender::new(HangUp::Finish),
            release: Notify::new(),
        })
    }

    fn next_reply(&self) -> Reply {
        let first = self.first.lock().unwrap().pop_front();
        first.unwrap_or_else(|| self.reply.lock().unwrap().clone())
    }
}

/// Responds to requests until the connection ends; how to close it, if it is to be closed in some way.
async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shared: &Shared,
) -> Option<HangUp> {
    shared.open.fetch_add(1, Ordering::SeqCst);
    let mut hang_up = shared.hang_up.subscribe();
    loop {
        let request = tokio::select! {
            request = read_request(stream) => request?,
            _ = hang_up.changed() => return Some(*hang_up.borrow()),
        };
        let mut reply = shared.next_reply();
        while let Reply::By(choose) = reply {
            reply = choose(&request);
        }
        shared.requests.lock().unwrap().push(request);
        // Made before anybody is told of the request, so that a release that follows is not missed.
        let release = shared.release.notified();
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        let end = respond(stream, shared, reply, release).await;
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        if let Err(how) = end {
            return how;
        }
    }
}

/// Responds to a request. An error is the end of the connection; with how to close it, if it is to be closed in some way.
async fn respond(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shared: &Shared,
    reply: Reply,
    release: Notified<'_>,
) -> Result<(), Option<HangUp>> {
    let (delay, bytes, is_last) = match reply {
        Reply::By(_) => unreachable!("chosen before"),
        Reply::Held(bytes) => {
            release.await;
            (None, bytes, false)
        }
        Reply::Bytes(bytes) => (None, bytes, false),
        Reply::Last(bytes) => (None, bytes, true),
        Reply::Late(delay, bytes) => (Some(delay), bytes, false),
        Reply::Silence => (Some(Duration::MAX), Vec::new(), true),
        Reply::Reset => return Err(Some(HangUp::Reset)),
    };
    if let Some(delay) = delay {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            // The other side has had enough.
            _ = stream.read_u8() => {
                shared.closed.fetch_add(1, Ordering::SeqCst);
                return Err(None);
            }
        }
    }
    stream.write_all(&bytes).await.map_err(|_| None)?;
    if is_last { Err(None) } else { Ok(()) }
}

/// One request; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(String::from_utf8(bytes).unwrap());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
