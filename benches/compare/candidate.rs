//! What is compared, and a running one of them.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::Stdio,
    time::Duration,
};

use clap::ValueEnum;
use reset_gateway::proto::{GetSecretQuestionRequest, password_reset_service_client::PasswordResetServiceClient};
use serde::Serialize;
use tonic::{Status, transport::Endpoint};

use crate::{
    api::{QUESTION, USERNAME},
    bench::Bench,
    envoy,
    gateway::{self, Settings, Telemetry},
    leash,
    load::{self, Latency, Load},
    plain, port,
    process::Process,
    wait,
};

/// What can be put between gRPC callers and the API. All have one worker, but for the one that tells what a second is
/// worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Candidate {
    /// The gateway as it ships; one call in a hundred has spans
    Gateway,
    /// The same, with the spans of every call
    AllSpans,
    /// The gateway as it ships, with two workers
    TwoWorkers,
    /// Envoy with grpc_json_reverse_transcoder
    Envoy,
    /// A plain tonic server that asks with reqwest
    Reqwest,
    /// A plain tonic server that asks with hyper-util's legacy client
    Hyper,
    /// A plain tonic server that does not ask
    Tonic,
}

impl Candidate {
    pub(crate) const ALL: [Self; 7] =
        [Self::Gateway, Self::AllSpans, Self::TwoWorkers, Self::Envoy, Self::Reqwest, Self::Hyper, Self::Tonic];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Gateway => "gateway, as it ships",
            Self::AllSpans => "gateway, every span exported",
            Self::TwoWorkers => "gateway, two workers",
            Self::Envoy => "Envoy, reverse transcoder",
            Self::Reqwest => "plain tonic + reqwest",
            Self::Hyper => "plain tonic + hyper-util",
            Self::Tonic => "tonic alone, the API not asked",
        }
    }

    fn asks_api(self) -> bool {
        self != Self::Tonic
    }

    /// Starts it, and has a real client ask it once.
    ///
    /// # Errors
    ///
    /// If it does not start, or the client does not get the question.
    pub(crate) fn start(self, bench: &Bench) -> Result<Running<'_>, String> {
        let (process, address, telemetry) = match self {
            Self::Gateway => start_gateway(bench, Settings { workers: 1, sampled: 0.01 }),
            Self::AllSpans => start_gateway(bench, Settings { workers: 1, sampled: 1.0 }),
            Self::TwoWorkers => start_gateway(bench, Settings { workers: 2, sampled: 0.01 }),
            Self::Envoy => start_envoy(bench),
            Self::Reqwest => Ok(start_plain(bench, plain::Kind::Reqwest)),
            Self::Hyper => Ok(start_plain(bench, plain::Kind::Hyper)),
            Self::Tonic => Ok(start_plain(bench, plain::Kind::Tonic)),
        }?;
        let mut running = Running { bench, candidate: self, process, address, telemetry, calls: 0 };
        running.check()?;
        Ok(running)
    }
}

type Started = (Process, SocketAddr, Option<Telemetry>);

fn start_gateway(bench: &Bench, settings: Settings) -> Result<Started, String> {
    let mut command = leash::command(&bench.tools.gateway);
    gateway::configure(&mut command, bench, settings, "127.0.0.1:0");
    let (process, address, telemetry) = gateway::start(&mut command, bench, settings)?;
    Ok((process, address, Some(telemetry)))
}

fn start_envoy(bench: &Bench) -> Result<Started, String> {
    let address = port::free();
    let mut command = leash::command(&bench.tools.envoy);
    envoy::configure(&mut command, bench, address);
    let process = Process(command.spawn().unwrap());
    if wait::until(|| port::is_open(address)) {
        Ok((process, address, None))
    } else {
        Err("it does not start".to_owned())
    }
}

fn start_plain(bench: &Bench, kind: plain::Kind) -> Started {
    let mut command = leash::command(std::env::current_exe().unwrap());
    plain::configure(&mut command, bench, kind);
    let mut process = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim().parse().unwrap(), None)
}

/// A running candidate.
pub(crate) struct Running<'a> {
    bench: &'a Bench,
    candidate: Candidate,
    pub(crate) process: Process,
    address: SocketAddr,
    /// Of the gateway alone.
    telemetry: Option<Telemetry>,
    /// All that have been made.
    calls: u32,
}

/// What a load cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// In seconds.
    pub(crate) cpu_per_call: f64,
    pub(crate) calls_per_second: f64,
}

impl Running<'_> {
    fn check(&mut self) -> Result<(), String> {
        self.calls += 1;
        let answer = self.bench.runtime.block_on(ask(self.address));
        match answer {
            Ok(Some(question)) if question == QUESTION => Ok(()),
            Ok(other) => Err(format!("a client got {other:?}, not the question")),
            Err(status) => Err(format!("a client got {:?}: {}", status.code(), status.message())),
        }
    }

    /// Loads it, after a tenth of the load to warm it up. The CPU includes what it takes until the spans are sent, if all
    /// are.
    pub(crate) fn load(&mut self, load: Load) -> Result<Cost, String> {
        let calls = load.calls;
        let warm_up = Load { calls: calls / 10, ..load };
        self.counted(warm_up.calls, |bench, address| load::run(bench, address, warm_up))?;
        let before = self.process.cpu();
        let calls_per_second = self.counted(calls, |bench, address| load::run(bench, address, load))?;
        Ok(Cost { cpu_per_call: (self.process.cpu() - before) / f64::from(calls), calls_per_second })
    }

    /// Calls it, one call at a time, after a tenth of the calls to warm it up.
    pub(crate) fn one_at_a_time(&mut self, calls: u32) -> Result<Latency, String> {
        self.counted(calls / 10, |bench, address| load::one_at_a_time(bench, address, calls / 10))?;
        self.counted(calls, |bench, address| load::one_at_a_time(bench, address, calls))
    }

    /// Makes calls, which only count if the API has seen each of them once.
    fn counted<T>(
        &mut self,
        calls: u32,
        make: impl FnOnce(&Bench, SocketAddr) -> Result<T, String>,
    ) -> Result<T, String> {
        let before = self.bench.api.requests();
        let made = make(self.bench, self.address)?;
        // The one is the question how many it was.
        let seen = self.bench.api.requests() - before - 1;
        let expected = if self.candidate.asks_api() { calls } else { 0 };
        if seen != u64::from(expected) {
            return Err(format!("the API saw {seen} requests, not {expected}"));
        }
        self.calls += calls;
        if let Some(telemetry) = &self.telemetry {
            telemetry.wait_for_spans(self.bench, self.calls)?;
        }
        Ok(made)
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If it is the gateway, and did not tell of each call what it was to tell.
    pub(crate) fn end(self) -> Result<(), String> {
        let Some(telemetry) = self.telemetry else { return Ok(()) };
        self.process.stop();
        telemetry.check(self.bench, self.calls)
    }
}

async fn ask(server: SocketAddr) -> Result<Option<String>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap().timeout(Duration::from_secs(5));
    let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = GetSecretQuestionRequest { username: USERNAME.to_owned() };
    let answer = PasswordResetServiceClient::new(channel).get_secret_question(request).await?;
    Ok(answer.into_inner().secret_question)
}
