//! The program, started as its users start it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use prost::Message as _;
use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use rustix::process::{Pid, Signal, kill_process};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

use crate::support::{
    over_tls::{add_tls, client_for},
    raw::framed,
};

/// A key that any test may use.
pub const KEY: &str = "test-key";

/// For tests with more attempts than the limits allow.
pub const UNLIMITED: [&str; 4] = [
    "--code-attempts=off",
    "--code-attempts-total=off",
    "--answer-attempts=off",
    "--resets=off",
];

/// The program, with nothing of this process's environment.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reset-gateway"));
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Output {
    program(args).output().unwrap()
}

/// A running gateway, killed when the test is over.
pub struct Gateway {
    child: Child,
    announced: String,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Gateway {
    /// A gateway before the API at that URL, with a key of its own.
    pub fn before(url: &str) -> Self {
        Self::start(program(&["--upstream-url", url, "--app-key", KEY]))
    }

    /// The same without limits on attempts.
    pub fn unlimited(url: &str) -> Self {
        Self::with(url, &[&["--app-key", KEY][..], &UNLIMITED].concat())
    }

    /// A gateway before the API at that URL, with further options.
    pub fn with(url: &str, options: &[&str]) -> Self {
        let mut command = program(&["serve", "--upstream-url", url]);
        command.args(options);
        Self::start(command)
    }

    /// The stand-in API alone, with these options.
    pub fn start_sandbox(options: &[&str]) -> Self {
        let mut command = program(&["sandbox"]);
        command.args(options);
        Self::spawn(command)
    }

    /// Starts the command, on ports that the system picks unless it names others.
    pub fn start(mut command: Command) -> Self {
        let names = |option: &str| command.get_args().any(|arg| arg == option);
        let free: Vec<_> = ["--listen", "--admin-listen"]
            .into_iter()
            .filter(|option| !names(option))
            .collect();
        for option in free {
            command.args([option, "127.0.0.1:0"]);
        }
        add_tls(&mut command);
        Self::spawn(command)
    }

    /// Starts the command as it is.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (stderr, stderr_reader) = collect(child.stderr.take().unwrap());
        let mut announced = String::new();
        while !announced
            .lines()
            .any(|line| line.starts_with("API at") || line.starts_with("sandbox API on"))
        {
            assert_ne!(
                stdout.read_line(&mut announced).unwrap(),
                0,
                "{announced}{}",
                stderr.lock().unwrap()
            );
        }
        let (stdout, stdout_reader) = collect(stdout);
        Self {
            child,
            announced,
            stdout,
            stderr,
            readers: [stdout_reader, stderr_reader],
        }
    }

    /// The rest of the first line that begins so.
    pub fn announced(&self, beginning: &str) -> &str {
        let line = self.announced_all(beginning).next();
        line.unwrap_or_else(|| panic!("no {beginning:?} in {}", self.announced))
    }

    /// The rest of each line that begins so.
    pub fn announced_all(&self, beginning: &str) -> impl Iterator<Item = &str> {
        let lines = self.announced.lines();
        lines.filter_map(move |line| line.strip_prefix(beginning))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> &str {
        self.announced("gRPC on ")
    }

    pub async fn channel(&self) -> Channel {
        connect(self.address()).await
    }

    pub async fn client(&self) -> PasswordResetServiceClient<Channel> {
        PasswordResetServiceClient::new(self.channel().await)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// What it printed after its announcement, so far.
    pub fn output(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Waits until the log has the text.
    pub async fn logged(&self, text: &str) {
        within(|| self.log().contains(text)).await;
    }

    /// Sends the signal of that name, which is given without `SIG`.
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "QUIT" => Signal::QUIT,
            "HUP" => Signal::HUP,
            "KILL" => Signal::KILL,
            _ => panic!("no test sends {name}"),
        };
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it has been, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id()))
            .unwrap()
            .count()
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the program's end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        within(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Ends the program by SIGTERM and gives all that it logged.
    pub async fn stopped(mut self) -> String {
        self.stop().await;
        self.log()
    }

    /// Ends the program by SIGTERM and gives all that it printed after its announcement.
    pub async fn stopped_with_output(mut self) -> String {
        self.stop().await;
        self.stdout.lock().unwrap().clone()
    }

    async fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.ended().await.success());
        // What it wrote last may still be on its way through the pipe.
        within(|| self.readers.iter().all(JoinHandle::is_finished)).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A channel to an address as the program announces it.
pub async fn connect(address: &str) -> Channel {
    if let Some(client) = client_for(address) {
        return client.channel(address).await.unwrap();
    }
    let uri = if address.starts_with("unix:") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
}

/// An HTTP client.
pub fn http() -> reqwest::Client {
    // Whoever comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

/// The status and the body at a URL.
pub async fn get(url: &str) -> (u16, String) {
    let response = http().get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Waits until it is so, for at most ten seconds.
pub async fn within(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come about within ten seconds");
}

/// The text of a stream so far, and the thread that reads it.
fn collect(mut stream: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            collected
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    });
    (text, reader)
}

/// A call of any rpc with any fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Reset,
    ResetWithAnswer,
    Question,
    Token,
    Password,
}

impl Call {
    pub const ALL: [Self; 5] = [
        Self::Reset,
        Self::ResetWithAnswer,
        Self::Question,
        Self::Token,
        Self::Password,
    ];

    pub fn rpc(self) -> &'static str {
        match self {
            Self::Reset | Self::ResetWithAnswer => "ResetPassword",
            Self::Question => "GetSecretQuestion",
            Self::Token => "GenerateToken",
            Self::Password => "UpdatePassword",
        }
    }

    /// A success as the API documents it for this rpc.
    pub fn success(self) -> &'static str {
        match self {
            Self::Reset | Self::ResetWithAnswer => r#"{ "Errors": [], "IsSucceed": false }"#,
            Self::Question => {
                r#"{ "Model": "What street did you live on?", "Errors": [], "IsSucceed": true }"#
            }
            Self::Token => r#"{ "Model": "ba6b8cac-6738", "Errors": [], "IsSucceed": true }"#,
            Self::Password => r#"{ "Errors": [], "IsSucceed": true }"#,
        }
    }

    /// Makes the call, with the request decorated.
    pub async fn make(
        self,
        client: &mut PasswordResetServiceClient<Channel>,
        decorate: impl Decorate,
    ) -> Result<(), Status> {
        match self.message() {
            Message::Reset(message) => client.reset_password(decorate.on(message)).await.map(drop),
            Message::Question(message) => client
                .get_secret_question(decorate.on(message))
                .await
                .map(drop),
            Message::Token(message) => client.generate_token(decorate.on(message)).await.map(drop),
            Message::Password(message) => {
                client.update_password(decorate.on(message)).await.map(drop)
            }
        }
    }

    /// The call's message in its gRPC frame.
    pub fn framed(self) -> Vec<u8> {
        framed(&match self.message() {
            Message::Reset(message) => message.encode_to_vec(),
            Message::Question(message) => message.encode_to_vec(),
            Message::Token(message) => message.encode_to_vec(),
            Message::Password(message) => message.encode_to_vec(),
        })
    }

    fn message(self) -> Message {
        let user = || "some.trader".to_owned();
        match self {
            Self::Reset => Message::Reset(ResetPasswordRequest {
                request_id: None,
                user: user(),
                secret_question_answer: None,
            }),
            Self::ResetWithAnswer => {
                let secret_question_answer = Some("An answer".to_owned());
                Message::Reset(ResetPasswordRequest {
                    request_id: None,
                    user: user(),
                    secret_question_answer,
                })
            }
            Self::Question => Message::Question(GetSecretQuestionRequest { username: user() }),
            Self::Token => Message::Token(GenerateTokenRequest {
                request_id: None,
                code: "741175".to_owned(),
            }),
            Self::Password => Message::Password(UpdatePasswordRequest {
                request_id: None,
                token: "a-token".to_owned(),
                password: "a new password".to_owned(),
                password_confirmation: None,
            }),
        }
    }
}

enum Message {
    Reset(ResetPasswordRequest),
    Question(GetSecretQuestionRequest),
    Token(GenerateTokenRequest),
    Password(UpdatePasswordRequest),
}

/// Additions to a request: metadata, a deadline.
pub trait Decorate {
    fn on<T>(&self, message: T) -> Request<T>;
}

impl<D: Decorate> Decorate for &D {
    fn on<T>(&self, message: T) -> Request<T> {
        (*self).on(message)
    }
}

/// Nothing is added.
pub struct Plain;

impl Decorate for Plain {
    fn on<T>(&self, message: T) -> Request<T> {
        Request::new(message)
    }
}

/// Metadata.
pub struct Metadata(pub &'static [(&'static str, &'static str)]);

impl Decorate for Metadata {
    fn on<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in self.0 {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        request
    }
}
