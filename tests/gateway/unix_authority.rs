//! Unix sockets take calls whose `:authority` is the socket's path, which many clients send and HTTP/2 does not allow.

use std::{collections::VecDeque, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::support::{
    api::{Api, Reply},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HAS_PRIORITY, HEADERS, NO_SETTINGS, PADDED,
        PING, PREFACE, RST_STREAM, call_to_authority, field, frame, frames, greet, text,
    },
    gateway::{Call, Gateway, KEY},
};

const QUESTION: &str = "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion";
/// The paths of a socket as C-core and as Java write them, and the shortest ones.
const PATHS: [&str; 4] = ["%2Frun%2Fgateway.sock", "/run/gateway.sock", "/", "%"];
/// Literals with incremental indexing, without indexing, and never indexed.
const LITERALS: [u8; 3] = [0x40, 0x00, 0x10];
/// `/tmp/wire/x.sock` in Huffman's code, with its length, as grpcurl sends it.
const CODED_PATH: &[u8] = b"\x8ca4\xd6\xc7\x83XV<\xae\x83\x93\xaf";

#[derive(Debug, PartialEq, Eq)]
enum End {
    Answered,
    /// The code of RST_STREAM.
    Reset(u8),
}

struct Setup {
    api: Api,
    gateway: Gateway,
    folder: TempDir,
}

impl Setup {
    /// A gateway on TCP and on a Unix socket. It has no key of its own, so that the API sees those of the callers.
    async fn start() -> Self {
        let api = Api::start(Reply::json(200, Call::Question.success())).await;
        let folder = tempfile::tempdir().unwrap();
        let socket = format!("unix:{}", folder.path().join("gateway.sock").display());
        let options = ["--listen", "127.0.0.1:0", "--listen", &socket];
        let gateway = Gateway::with(&api.url(), &options);
        Self {
            api,
            gateway,
            folder,
        }
    }

    /// A connection to the Unix socket, before its first byte.
    async fn connect(&self) -> UnixStream {
        let socket = self.folder.path().join("gateway.sock");
        UnixStream::connect(socket).await.unwrap()
    }

    async fn greet(&self) -> UnixStream {
        let mut client = self.connect().await;
        client.write_all(PREFACE).await.unwrap();
        client.write_all(NO_SETTINGS).await.unwrap();
        client
    }

    /// The keys in the requests to the API.
    fn keys(&self) -> Vec<String> {
        let requests = self.api.requests();
        let lines = requests.iter().flat_map(|request| request.lines());
        lines
            .filter_map(|line| line.strip_prefix("et-app-key: "))
            .map(str::to_owned)
            .collect()
    }
}

fn block(authority: &[u8]) -> Vec<u8> {
    call_to_authority(authority, QUESTION, &[("et-app-key", KEY)])
}

fn message(stream: u32) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, &Call::Question.framed())
}

fn call(stream: u32, block: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, block);
    [headers, message(stream)].concat()
}

/// Sends the call in these pieces and waits for its end.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut S,
    stream: u32,
    pieces: &[&[u8]],
) -> End {
    for (i, piece) in pieces.iter().enumerate() {
        if i > 0 {
            // So that the gateway reads each by itself.
            sleep(Duration::from_millis(1)).await;
        }
        client.write_all(piece).await.unwrap();
    }
    let mut received = Vec::new();
    let reading = async {
        loop {
            if let Some(end) = end_of(stream, &received) {
                return end;
            }
            assert_ne!(
                client.read_buf(&mut received).await.unwrap(),
                0,
                "it closed"
            );
        }
    };
    timeout(Duration::from_secs(10), reading).await.unwrap()
}

fn end_of(stream: u32, received: &[u8]) -> Option<End> {
    let mut is_right = false;
    for (kind, flags, id, payload) in frames(received) {
        if id != stream {
            continue;
        }
        match kind {
            DATA => is_right |= String::from_utf8_lossy(&payload).contains("What street did you"),
            RST_STREAM => return Some(End::Reset(payload[3])),
            HEADERS if flags & END_STREAM != 0 => {
                assert!(is_right, "a response without the question");
                return Some(End::Answered);
            }
            _ => {}
        }
    }
    None
}

/// The streams that a client opens, one after the other.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

#[tokio::test]
async fn a_unix_socket_takes_a_path_as_the_authority_in_any_form() {
    let setup = Setup::start().await;
    let mut client = setup.greet().await;
    let mut streams = streams();
    for literal in LITERALS {
        let by_index = vec![literal | 1];
        let spelled = [&[literal], &*text(":authority")].concat();
        for name in [by_index, spelled] {
            let values = PATHS.iter().map(|path| text(path));
            for value in values.chain([CODED_PATH.to_vec(), text("localhost:50051")]) {
                let stream = streams.next().unwrap();
                let call = call(stream, &block(&[&*name, &value].concat()));
                let what = format!("{literal:#x} {:?}", String::from_utf8_lossy(&value));
                assert_eq!(
                    send(&mut client, stream, &[&call]).await,
                    End::Answered,
                    "{what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_path_is_found_wherever_a_frame_or_a_read_ends() {
    let setup = Setup::start().await;
    let mut client = setup.greet().await;
    let mut streams = streams();
    let authority = [&[0x00], &*text(":authority"), &text(PATHS[0])].concat();
    let block = block(&[&[0x3f, 0xe1, 0x1f], &*authority].concat());
    // 0 is a dependency on no stream.
    let priority = [0, 0, 0, 0, 200];
    for at in 0..=block.len() {
        let (first, rest) = block.split_at(at);
        let (middle, last) = rest.split_at(rest.len() / 2);
        for flags in [0, PADDED, HAS_PRIORITY, PADDED | HAS_PRIORITY] {
            let stream = streams.next().unwrap();
            let padding: &[u8] = if flags & PADDED == 0 { &[] } else { &[2] };
            let weight: &[u8] = if flags & HAS_PRIORITY == 0 {
                &[]
            } else {
                &priority
            };
            let zeros = vec![0; usize::from(padding.first().copied().unwrap_or_default())];
            let payload = [padding, weight, first, &zeros].concat();
            let call = [
                frame(PING, 0, 0, b"A\x06a/b%c/"),
                frame(HEADERS, flags, stream, &payload),
                frame(CONTINUATION, 0, stream, middle),
                frame(CONTINUATION, END_HEADERS, stream, last),
                message(stream),
            ];
            let end = send(&mut client, stream, &[&call.concat()]).await;
            assert_eq!(end, End::Answered, "flags {flags:#x}, split at {at}");
        }
    }
    let whole = call(1, &block);
    for at in 0..whole.len() {
        let stream = streams.next().unwrap();
        let call = call(stream, &block);
        let (first, rest) = call.split_at(at);
        assert_eq!(
            send(&mut client, stream, &[first, rest]).await,
            End::Answered,
            "read to {at}"
        );
    }
    let mut client = setup.connect().await;
    let whole = [PREFACE, NO_SETTINGS, &whole].concat();
    let bytes: Vec<_> = whole.chunks(1).collect();
    assert_eq!(
        send(&mut client, 1, &bytes).await,
        End::Answered,
        "byte by byte"
    );
}

/// A client's dynamic table, which spells each field once and refers to it as long as it is there.
#[derive(Default)]
struct Encoder {
    entries: VecDeque<(String, String)>,
}

impl Encoder {
    const MOST: usize = 4096;

    fn field(&mut self, name: &str, value: &str) -> Vec<u8> {
        let entry = (name.to_owned(), value.to_owned());
        if let Some(at) = self.entries.iter().position(|other| *other == entry) {
            // Entries count from 62, and numbers of more than seven bits go on.
            return match 62 + at {
                index @ 0x7f.. => vec![0xff, (index - 0x7f) as u8],
                index => vec![0x80 | index as u8],
            };
        }
        self.entries.push_front(entry);
        let size = |(name, value): &(String, String)| name.len() + value.len() + 32;
        while self.entries.iter().map(size).sum::<usize>() > Self::MOST {
            self.entries.pop_back();
        }
        [&[0x40], &*text(name), &text(value)].concat()
    }
}

#[tokio::test]
async fn what_a_client_spelled_once_stays_right_for_hundreds_of_calls() {
    let setup = Setup::start().await;
    let mut client = setup.greet().await;
    let (mut encoder, mut keys) = (Encoder::default(), Vec::new());
    for (number, stream) in (0..400).zip(streams()) {
        let key = format!("/key%{}/%", number % 5);
        let changing = format!("/%{}", "x".repeat(number % 90));
        let path = PATHS[number % 2];
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", path),
            (":path", QUESTION),
            ("content-type", "application/grpc"),
            ("x-changing", &changing),
            ("te", "trailers"),
            ("et-app-key", &key),
        ] {
            block.extend(encoder.field(name, value));
            if number % 3 == 0 && !name.starts_with(':') {
                block.extend(field("x-once", "/%"));
            }
        }
        let end = send(&mut client, stream, &[&call(stream, &block)]).await;
        assert_eq!(end, End::Answered, "call {number}");
        keys.push(key);
    }
    assert_eq!(setup.keys(), keys, "only the authority is rewritten");
}

#[tokio::test]
async fn an_authority_that_is_not_understood_ends_its_own_call_alone() {
    let setup = Setup::start().await;
    let mut client = setup.greet().await;
    // The name by its entry in the dynamic table, with a value that is not there.
    let first = [&[0x40], &*text(":authority"), &text("localhost")].concat();
    let by_entry = [&[0x0f, 62 - 0x0f], &*text(PATHS[0])].concat();
    let good = [&[0x01], &*text(PATHS[0])].concat();
    for (stream, authority, expected) in [
        (1, &first, End::Answered),
        (3, &by_entry, End::Reset(1)),
        (5, &good, End::Answered),
    ] {
        let end = send(&mut client, stream, &[&call(stream, &block(authority))]).await;
        assert_eq!(end, expected, "stream {stream}");
    }
}

#[tokio::test]
async fn over_tcp_a_path_as_the_authority_is_refused() {
    let setup = Setup::start().await;
    let mut client = greet(&setup.gateway, NO_SETTINGS).await;
    let call = call(1, &block(&[&[0x01], &*text(PATHS[0])].concat()));
    assert_eq!(send(&mut client, 1, &[&call]).await, End::Reset(1));
}
