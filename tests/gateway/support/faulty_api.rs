//! A fake REST API that breaks HTTP, TCP and its own promises, byte by byte, and counts what reaches it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// A fault: how much of a request the API reads, what it sends, and whether it ends the connection.
#[derive(Clone, Debug)]
pub struct Script {
    reads: Reads,
    sends: Vec<Sends>,
    ends: Ends,
}

/// How much of a request is read before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Nothing,
    /// The beginning of the first line.
    PartOfHead,
    /// The head and the first byte of the body, if there is one.
    PartOfBody,
    Whole,
}

#[derive(Clone, Debug)]
enum Sends {
    Bytes(Vec<u8>),
    Dripping(Vec<u8>),
    Repeating(Vec<u8>),
    Flooding(Vec<u8>, usize),
    Pause(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The connection takes the next request.
    Open,
    /// Nothing more happens.
    Silent,
    /// FIN.
    Closed,
    /// RST.
    Reset,
}

impl Script {
    /// Reads the whole request, sends the bytes, and leaves the connection open.
    pub fn sends(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            reads: Reads::Whole,
            sends: vec![Sends::Bytes(bytes.into())],
            ends: Ends::Open,
        }
    }

    /// Sends nothing, and acts when so much of the request is read.
    pub fn at(reads: Reads) -> Self {
        Self {
            reads,
            sends: Vec::new(),
            ends: Ends::Open,
        }
    }

    pub fn and_sends(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and(Sends::Bytes(bytes.into()))
    }

    /// Sends a byte a second.
    pub fn drips(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and(Sends::Dripping(bytes.into()))
    }

    /// Sends the bytes every millisecond, for as long as there is anybody to take them.
    pub fn repeats(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.and(Sends::Repeating(bytes.into()))
    }

    /// Sends the bytes again and again, as fast as it can, so many in all.
    pub fn floods(self, bytes: impl Into<Vec<u8>>, total: usize) -> Self {
        self.and(Sends::Flooding(bytes.into(), total))
    }

    pub fn pauses(self, pause: Duration) -> Self {
        self.and(Sends::Pause(pause))
    }

    pub fn falls_silent(self) -> Self {
        Self {
            ends: Ends::Silent,
            ..self
        }
    }

    pub fn closes(self) -> Self {
        Self {
            ends: Ends::Closed,
            ..self
        }
    }

    pub fn resets(self) -> Self {
        Self {
            ends: Ends::Reset,
            ..self
        }
    }

    fn and(mut self, more: Sends) -> Self {
        self.sends.push(more);
        self
    }
}

/// The requests that reached the API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub connections: usize,
    /// Requests of which at least a byte was read.
    pub begun: usize,
    /// Requests that were read to their end.
    pub whole: usize,
    /// Bytes of a flood that the other side or the system took.
    pub taken: usize,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    begun: AtomicUsize,
    whole: AtomicUsize,
    taken: AtomicUsize,
    /// Scripts that are being played.
    playing: AtomicUsize,
}

/// The fake API; ends with the runtime of its test.
pub struct FaultyApi {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    counts: Arc<Counts>,
}

impl FaultyApi {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The API on a listener that is there already.
    pub fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let api = Self {
            address,
            script: Arc::new(Mutex::new(Script::at(Reads::Whole).closes())),
            counts: Arc::default(),
        };
        let (script, counts) = (Arc::clone(&api.script), Arc::clone(&api.counts));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&counts)));
            }
        });
        api
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every request meets this script.
    pub fn plays(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// Whether no script is being played: each has ended, or the other side has ended the connection.
    pub fn is_idle(&self) -> bool {
        self.counts.playing.load(Ordering::SeqCst) == 0
    }

    /// The requests that reached the API since the last call.
    pub fn seen(&self) -> Seen {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        let Counts {
            connections,
            begun,
            whole,
            taken,
            ..
        } = &*self.counts;
        Seen {
            connections: take(connections),
            begun: take(begun),
            whole: take(whole),
            taken: take(taken),
        }
    }
}

/// Counts a script for as long as it is played.
struct Playing<'a>(&'a Counts);

impl<'a> Playing<'a> {
    fn start(counts: &'a Counts) -> Self {
        counts.playing.fetch_add(1, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        self.0.playing.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn converse(mut stream: TcpStream, script: Arc<Mutex<Script>>, counts: Arc<Counts>) {
    counts.connections.fetch_add(1, Ordering::SeqCst);
    loop {
        let reads = script.lock().unwrap().reads;
        let mut request = Request::default();
        while !request.is_read(reads) {
            if request.read(&mut stream, &counts).await.is_err() {
                return;
            }
        }
        let script = script.lock().unwrap().clone();
        let _playing = Playing::start(&counts);
        for sends in script.sends {
            if send(sends, &mut stream, &counts).await.is_err() {
                return;
            }
        }
        match script.ends {
            Ends::Open => {}
            Ends::Silent => return request.read_on(&mut stream, &counts).await,
            Ends::Closed => {
                // What is unread when a connection is closed would make a RST of the FIN.
                let _ = stream.shutdown().await;
                return request.read_on(&mut stream, &counts).await;
            }
            Ends::Reset => return stream.set_zero_linger().unwrap(),
        }
    }
}

async fn send(sends: Sends, stream: &mut TcpStream, counts: &Counts) -> io::Result<()> {
    match sends {
        Sends::Bytes(bytes) => stream.write_all(&bytes).await,
        Sends::Pause(pause) => {
            sleep(pause).await;
            Ok(())
        }
        Sends::Dripping(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                wait(Duration::from_secs(1), stream).await?;
            }
            Ok(())
        }
        Sends::Repeating(bytes) => loop {
            stream.write_all(&bytes).await?;
            wait(Duration::from_millis(1), stream).await?;
        },
        Sends::Flooding(bytes, total) => {
            let block = bytes.repeat((64 * 1024 / bytes.len()).max(1));
            let mut sent = 0;
            while sent < total {
                stream.write_all(&block).await?;
                sent += block.len();
                counts.taken.fetch_add(block.len(), Ordering::SeqCst);
            }
            Ok(())
        }
    }
}

/// Waits, unless the other side ends the connection: nothing else is due from it.
async fn wait(pause: Duration, stream: &mut TcpStream) -> io::Result<()> {
    tokio::select! {
        () = sleep(pause) => Ok(()),
        _ = stream.read_u8() => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// A request as far as it was read.
#[derive(Default)]
struct Request {
    bytes: Vec<u8>,
    /// How long it is, head and body; known from the end of the head on.
    length: Option<(usize, usize)>,
}

impl Request {
    fn is_read(&self, reads: Reads) -> bool {
        match (reads, self.length) {
            (Reads::Nothing, _) => true,
            (Reads::PartOfHead, _) => self.bytes.len() >= 16,
            (_, None) => false,
            (Reads::PartOfBody, Some((head, body))) => self.bytes.len() >= head + body.min(1),
            (Reads::Whole, Some((head, body))) => self.bytes.len() >= head + body,
        }
    }

    /// Reads one byte, and counts.
    async fn read(&mut self, stream: &mut TcpStream, counts: &Counts) -> io::Result<()> {
        self.bytes.push(stream.read_u8().await?);
        if self.bytes.len() == 1 {
            counts.begun.fetch_add(1, Ordering::SeqCst);
        }
        if self.length.is_none() && self.bytes.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.bytes).to_lowercase();
            assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
            let body = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            self.length = Some((
                self.bytes.len(),
                body.map_or(0, |length| length.parse().unwrap()),
            ));
        }
        if self
            .length
            .is_some_and(|(head, body)| self.bytes.len() == head + body)
        {
            counts.whole.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Reads what is left of it, until the other side ends the connection.
    async fn read_on(&mut self, stream: &mut TcpStream, counts: &Counts) {
        while self.read(stream, counts).await.is_ok() {}
    }
}
