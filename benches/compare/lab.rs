//! What all measurements share: the programs, the collector, and the REST API, an nginx that answers from memory.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    collector::{self, Spans},
    process::Process,
};

pub(crate) const USERNAME: &str = "robert.zak";
pub(crate) const QUESTION: &str = "What street did you live on in third grade?";
pub(crate) const PATH: &str = "/v1.0/users/password/secret-question";

pub(crate) struct Lab {
    /// The directory with the programs.
    pub(crate) programs: PathBuf,
    pub(crate) scratch: TempDir,
    pub(crate) api: SocketAddr,
    pub(crate) collector: SocketAddr,
    /// What the collector has received.
    pub(crate) spans: Spans,
    /// For the collector, and for the client that makes each server's first call.
    pub(crate) runtime: Runtime,
    _nginx: Process,
}

impl Lab {
    pub(crate) fn new(programs: PathBuf) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let api = free_address();
        let nginx = start_api(&programs, scratch.path(), api);
        let (collector, spans) = (free_address(), Spans::default());
        let runtime = Runtime::new().unwrap();
        runtime.spawn(collector::serve(collector, spans.clone()));
        wait_until_listening(api);
        wait_until_listening(collector);
        Self {
            programs,
            scratch,
            api,
            collector,
            spans,
            runtime,
            _nginx: nginx,
        }
    }

    /// How many requests the API has seen, not counting this one.
    pub(crate) fn api_requests(&self) -> u64 {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut status = String::new();
        stream.read_to_string(&mut status).unwrap();
        // Active connections: 1\nserver accepts handled requests\n 2 2 3\n
        let (_, counts) = status.split_once("requests").unwrap();
        let requests: u64 = counts.split_whitespace().nth(2).unwrap().parse().unwrap();
        requests - 1
    }
}

fn start_api(programs: &Path, scratch: &Path, address: SocketAddr) -> Process {
    let configuration = include_str!("nginx.conf")
        .replace("ADDRESS", &address.to_string())
        .replace("PATH", PATH)
        .replace("USERNAME", USERNAME)
        .replace("BODY", &api_body());
    fs::write(scratch.join("nginx.conf"), configuration).unwrap();
    let mut nginx = command(&programs.join("nginx"));
    nginx.arg("-p").arg(scratch);
    nginx.args(["-c", "nginx.conf", "-e", "stderr"]);
    Process(nginx.spawn().expect("benches/compare/run fetches nginx"))
}

/// The body of every response of the API.
pub(crate) fn api_body() -> String {
    format!(r#"{{"Model":"{QUESTION}","Errors":[],"IsSucceed":true}}"#)
}

/// A command that inherits neither the environment nor the terminal.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A loopback address on a port picked by the system, for programs that cannot report the port they got.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn wait_until_listening(address: SocketAddr) {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "nothing listens on {address}");
        thread::sleep(Duration::from_micros(500));
    }
}
