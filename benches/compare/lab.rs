//! The environment of all measurements: the programs, the collector, and the REST API, an nginx that answers from memory.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use crate::{collector, process::Process};

pub(crate) const USERNAME: &str = "robert.zak";
pub(crate) const QUESTION: &str = "What street did you live on in third grade?";
pub(crate) const PATH: &str = "/v1.0/users/password/secret-question";
/// The body of every response of the API.
pub(crate) const BODY: &str =
    r#"{"Model":"What street did you live on in third grade?","Errors":[],"IsSucceed":true}"#;

pub(crate) struct Lab {
    /// Where the programs are, and where they run.
    pub(crate) directory: PathBuf,
    pub(crate) api: SocketAddr,
    pub(crate) collector: SocketAddr,
    /// For the collector, and for the client that makes each server's first call.
    pub(crate) runtime: Runtime,
}

impl Lab {
    pub(crate) fn new(directory: &Path) -> Self {
        let lab = Self {
            directory: directory.canonicalize().unwrap(),
            api: free_address(),
            collector: free_address(),
            runtime: Runtime::new().unwrap(),
        };
        lab.runtime.spawn(collector::serve(lab.collector));
        wait_until_listening(lab.collector);
        lab
    }

    pub(crate) fn start_api(&self) -> Process {
        let configuration = include_str!("nginx.conf")
            .replace("ADDRESS", &self.api.to_string())
            .replace("PATH", PATH)
            .replace("USERNAME", USERNAME)
            .replace("BODY", BODY);
        self.write("nginx.conf", configuration);
        let mut nginx = self.command("nginx");
        nginx.args(["-p", ".", "-c", "nginx.conf", "-e", "stderr"]);
        let process = Process(nginx.spawn().expect("benches/compare/run fetches nginx"));
        wait_until_listening(self.api);
        process
    }

    /// A command that inherits neither the environment nor the terminal. An absolute path is used as it is.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.directory.join(program));
        command.current_dir(&self.directory).env_clear();
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.directory.join(file), contents).unwrap();
    }

    /// How many requests the API has seen, not counting this one.
    pub(crate) fn api_requests(&self) -> u64 {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut status = String::new();
        stream.read_to_string(&mut status).unwrap();
        // Active connections: 1\nserver accepts handled requests\n 2 2 3\nReading: 0 Writing: 1 Waiting: 0
        let requests = status.split_whitespace().nth_back(6).unwrap();
        requests.parse::<u64>().unwrap() - 1
    }
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
