//! The servers that are compared: how each is started, loaded and ended.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::Instant,
};

use reset_gateway::proto::{
    GetSecretQuestionRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tonic::transport::Endpoint;

use crate::{
    collector::take_spans,
    lab::{Lab, QUESTION, USERNAME, free_address, wait_until_listening},
    load,
    process::Process,
};

/// The part of the gateway's calls that has spans.
const SAMPLED: f64 = 0.01;

/// A server that is compared.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    /// Its name in the table.
    pub(crate) title: &'static str,
    /// `http` or `https`.
    scheme: &'static str,
    /// The command that starts it at an address.
    command: fn(&Lab, SocketAddr) -> Command,
}

pub(crate) const CANDIDATES: [Candidate; 4] = [
    Candidate {
        title: "gateway",
        scheme: "http",
        command: gateway,
    },
    Candidate {
        title: "Envoy, reverse transcoder",
        scheme: "http",
        command: envoy,
    },
    Candidate {
        title: "plain tonic + reqwest",
        scheme: "http",
        command: plain,
    },
    Candidate {
        title: "gateway, callers over TLS",
        scheme: "https",
        command: gateway_with_tls,
    },
];

/// A candidate that has answered its first call.
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    process: Process,
    /// Its URL, without a path.
    url: String,
    /// Milliseconds from its start to the response of the first call.
    pub(crate) start: f64,
    calls: u64,
    /// Counts the lines of the gateway's log.
    log: Option<JoinHandle<usize>>,
}

/// The gateway in its default configuration, with spans exported for one call in a hundred.
fn gateway(lab: &Lab, listen: SocketAddr) -> Command {
    let collector = format!("http://{}", lab.collector);
    let mut command = lab.command("reset-gateway");
    command
        .args(["--listen", &listen.to_string()])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--upstream-url", &format!("http://{}", lab.api)])
        .args(["--app-key", "bench", "--worker-threads", "1"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", SAMPLED.to_string())
        .stderr(Stdio::piped());
    command
}

/// The same with TLS for its callers, and a key on P-256.
fn gateway_with_tls(lab: &Lab, listen: SocketAddr) -> Command {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    lab.write("server.pem", made.cert.pem());
    lab.write("server-key.pem", made.signing_key.serialize_pem());
    let mut command = gateway(lab, listen);
    command.args(["--tls-cert", "server.pem", "--tls-key", "server-key.pem"]);
    command
}

/// Envoy with the transcoder and nothing else. It writes no access log, no traces and no request ids, has no admin port,
/// and its circuit breaker never opens.
fn envoy(lab: &Lab, listen: SocketAddr) -> Command {
    let configuration = include_str!("envoy.json")
        .replace("LISTEN_PORT", &listen.port().to_string())
        .replace("API_PORT", &lab.api.port().to_string());
    lab.write("envoy.json", configuration);
    lab.write("envoy.bin", descriptor_set());
    let mut command = lab.command("envoy");
    command.args(["-c", "envoy.json", "--concurrency", "1"]);
    command.args(["--disable-hot-restart", "--log-level", "off"]);
    command
}

/// The contract as the transcoder needs it: with the member names of the API's JSON.
fn descriptor_set() -> Vec<u8> {
    let mut compiler = protox::Compiler::new(["benches/compare"]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("secret_question.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

fn plain(lab: &Lab, listen: SocketAddr) -> Command {
    let mut command = lab.command(env::current_exe().unwrap());
    command.args(["--plain", &listen.to_string(), &lab.api.to_string()]);
    command
}

/// Makes one call, which has to get the right response.
async fn call(url: &str) {
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let request = GetSecretQuestionRequest {
        username: USERNAME.to_owned(),
    };
    let mut client = PasswordResetServiceClient::new(channel);
    let response = client.get_secret_question(request).await;
    let question = response.unwrap().into_inner().secret_question;
    assert_eq!(question.as_deref(), Some(QUESTION));
}

impl<'a> Running<'a> {
    pub(crate) fn start(lab: &'a Lab, candidate: Candidate) -> Self {
        let address = free_address();
        let url = format!("{}://{address}", candidate.scheme);
        let mut command = (candidate.command)(lab, address);
        let begin = Instant::now();
        let mut process = Process(command.spawn().expect(candidate.title));
        wait_until_listening(address);
        match candidate.scheme {
            "http" => lab.runtime.block_on(call(&url)),
            _ => drop(load::run(lab, &url, 1, 1)),
        }
        let start = begin.elapsed().as_secs_f64() * 1e3;
        let log = process.0.stderr.take().map(BufReader::new);
        Self {
            lab,
            process,
            url,
            start,
            calls: 1,
            log: log.map(|log| thread::spawn(|| log.split(b'\n').count())),
        }
    }

    /// Loads it, and checks that the API saw each call once. Returns the CPU seconds per call and the calls per second.
    pub(crate) fn load(&mut self, streams: u32, calls: u32) -> (f64, f64) {
        let (cpu, requests) = (self.cpu(), self.lab.api_requests());
        let calls_per_second = load::run(self.lab, &self.url, streams, calls);
        let seen = self.lab.api_requests() - requests - 1;
        assert_eq!(seen, u64::from(calls), "requests at the API");
        self.calls += seen;
        ((self.cpu() - cpu) / f64::from(calls), calls_per_second)
    }

    /// The peak of its resident memory so far, in megabytes.
    pub(crate) fn peak_memory(&self) -> f64 {
        self.process.memory("VmHWM:") as f64 / 1e6
    }

    /// User and system time, in seconds.
    fn cpu(&self) -> f64 {
        /// Linux's `USER_HZ`.
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = times.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        ticks / TICKS_PER_SECOND
    }

    /// Ends it. The gateway must have logged every call, and exported the sampled spans: how many is returned. Otherwise it
    /// did less than it should.
    pub(crate) fn end(self) -> f64 {
        let Some(log) = self.log else { return 0.0 };
        self.process.stop();
        let lines = log.join().unwrap() as u64;
        assert!(lines >= self.calls, "{lines} lines of {} calls", self.calls);
        // Two spans a call.
        2.0 * SAMPLED * self.calls as f64
    }
}

/// Checks how many spans the collector got. Sampling is random, so half or twice as many are accepted.
pub(crate) fn check_spans(expected: f64) {
    let spans = take_spans() as f64;
    let plausible = expected / 2.0..=expected * 2.0;
    assert!(plausible.contains(&spans), "{spans}, not {expected} spans");
}
