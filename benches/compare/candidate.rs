//! The servers that are compared: how each is started, loaded and ended.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use reset_gateway::proto::{
    GetSecretQuestionRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tokio::time::sleep;
use tonic::transport::Endpoint;

use crate::{
    api::{QUESTION, USERNAME},
    collector::Collector,
    envoy::envoy,
    lab::Lab,
    load::{self, Load},
    process::Process,
    programs::{command, free_address},
};

/// The part of the gateway's calls that has spans.
const SAMPLED: f64 = 0.01;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    Gateway,
    Envoy,
    Plain,
}

/// A candidate that has answered its first call.
pub(crate) struct Running<'a> {
    lab: &'a Lab,
    process: Process,
    address: SocketAddr,
    /// Seconds from its start to the response of the first call.
    pub(crate) start: f64,
    calls: u64,
    telemetry: Option<(Collector, JoinHandle<u64>)>,
}

impl Candidate {
    pub(crate) const ALL: [Self; 3] = [Self::Gateway, Self::Envoy, Self::Plain];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Envoy => "Envoy, reverse transcoder",
            Self::Plain => "plain tonic + reqwest",
        }
    }

    pub(crate) fn start(self, lab: &Lab) -> Running<'_> {
        let address = free_address();
        let collector = Collector::start(&lab.runtime);
        let mut command = match self {
            Self::Gateway => gateway(lab, address, &collector),
            Self::Envoy => envoy(lab, address),
            Self::Plain => plain(lab, address),
        };
        let begin = Instant::now();
        let mut process = Process(command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}", self.title());
        }));
        lab.runtime.block_on(first_call(address));
        Running {
            lab,
            address,
            start: begin.elapsed().as_secs_f64(),
            calls: 1,
            telemetry: (process.0.stderr.take()).map(|log| {
                let lines = BufReader::new(log).split(b'\n');
                (collector, thread::spawn(|| lines.count() as u64))
            }),
            process,
        }
    }
}

/// The gateway in its default configuration, with spans exported for one call in a hundred.
fn gateway(lab: &Lab, listen: SocketAddr, collector: &Collector) -> Command {
    let mut command = command(&lab.tools.gateway);
    command
        .args(["--listen", &listen.to_string()])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--upstream-url", &format!("http://{}", lab.api.address)])
        .args(["--app-key", "bench", "--worker-threads", "1"])
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        )
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", SAMPLED.to_string())
        .stderr(Stdio::piped());
    command
}

fn plain(lab: &Lab, listen: SocketAddr) -> Command {
    let mut command = command(&env::current_exe().unwrap());
    command.args(["--plain", &listen.to_string(), &lab.api.address.to_string()]);
    command
}

/// Calls until it gets an answer, which has to be the right one.
async fn first_call(server: SocketAddr) {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(channel) = endpoint.connect().await {
            let request = GetSecretQuestionRequest {
                username: USERNAME.to_owned(),
            };
            let response = PasswordResetServiceClient::new(channel)
                .get_secret_question(request)
                .await;
            let question = response.unwrap().into_inner().secret_question;
            assert_eq!(question.as_deref(), Some(QUESTION));
            return;
        }
        assert!(Instant::now() < end, "nothing listens on {server}");
        sleep(Duration::from_micros(500)).await;
    }
}

impl Running<'_> {
    /// Loads it, and checks that the API saw each call once. Returns the CPU seconds per call and the calls per second.
    pub(crate) fn load(&mut self, load: Load) -> (f64, f64) {
        let (cpu, requests) = (self.cpu(), self.lab.api.requests());
        let calls_per_second = load::run(self.lab, self.address, load);
        let seen = self.lab.api.requests() - requests - 1;
        assert_eq!(seen, u64::from(load.calls), "requests at the API");
        self.calls += seen;
        let cpu_per_call = (self.cpu() - cpu) / f64::from(load.calls);
        (cpu_per_call, calls_per_second)
    }

    /// The peak of its resident memory so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.memory("VmHWM:")
    }

    /// User and system time, in seconds.
    fn cpu(&self) -> f64 {
        /// Linux's `USER_HZ`.
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let times = fields.split_whitespace().skip(11).take(2);
        times
            .map(|ticks| ticks.parse::<f64>().unwrap())
            .sum::<f64>()
            / TICKS_PER_SECOND
    }

    /// Ends it. The gateway must have logged every call and exported the sampled spans: otherwise it did less than it
    /// should.
    pub(crate) fn end(self) {
        let Some((collector, lines)) = self.telemetry else {
            return;
        };
        self.process.stop();
        let lines = lines.join().unwrap();
        assert!(lines >= self.calls, "{lines} lines of {} calls", self.calls);
        // Two spans a call. Sampling is random, so half or twice as many are accepted.
        let expected = 2.0 * SAMPLED * self.calls as f64;
        let spans = collector.spans() as f64;
        let plausible = expected / 2.0..=expected * 2.0;
        assert!(
            expected < 50.0 || plausible.contains(&spans),
            "{spans} spans, not about {expected}"
        );
    }
}
