//! A running candidate: loads, and what tells that it did its work.

use std::{net::SocketAddr, ops::AddAssign, time::Duration};

use reset_gateway::proto::{
    GetSecretQuestionRequest, password_reset_service_client::PasswordResetServiceClient,
};
use tonic::{Status, transport::Endpoint};

use crate::{
    api::{QUESTION, USERNAME},
    bench::Bench,
    load::{self, Load},
    process::Process,
    telemetry::Telemetry,
};

/// A process that takes gRPC calls.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Of the gateway alone.
    pub(crate) telemetry: Option<Telemetry>,
}

/// A candidate that has given the right answer.
pub(crate) struct Running<'a> {
    bench: &'a Bench,
    pub(crate) process: Process,
    address: SocketAddr,
    telemetry: Option<Telemetry>,
    asks_api: bool,
    /// All that have been made.
    calls: u32,
}

/// What so many calls cost, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    calls: f64,
    cpu: f64,
    time: f64,
}

impl<'a> Running<'a> {
    /// Has a real client ask it once.
    ///
    /// # Errors
    ///
    /// If it does not get the question.
    pub(crate) fn new(bench: &'a Bench, started: Started, asks_api: bool) -> Result<Self, String> {
        let Started {
            process,
            address,
            telemetry,
        } = started;
        match bench.runtime.block_on(ask(address)) {
            Ok(Some(question)) if question == QUESTION => Ok(Self {
                bench,
                process,
                address,
                telemetry,
                asks_api,
                calls: 1,
            }),
            Ok(other) => Err(format!("a client got {other:?}, not the question")),
            Err(status) => Err(format!(
                "a client got {:?}: {}",
                status.code(),
                status.message()
            )),
        }
    }

    /// Loads it. The CPU includes what it takes until the spans are sent, if all are.
    pub(crate) fn load(&mut self, load: Load) -> Result<Cost, String> {
        let before = self.process.cpu();
        let calls_per_second =
            self.counted(load.calls, |bench, address| load::run(bench, address, load))?;
        let calls = f64::from(load.calls);
        Ok(Cost {
            calls,
            cpu: self.process.cpu() - before,
            time: calls / calls_per_second,
        })
    }

    /// Calls it, one call at a time. Gives how long each took, in seconds.
    pub(crate) fn one_at_a_time(&mut self, calls: u32) -> Result<Vec<f64>, String> {
        self.counted(calls, |bench, address| {
            load::one_at_a_time(bench, address, calls)
        })
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
        let expected = if self.asks_api { calls } else { 0 };
        if seen != u64::from(expected) {
            return Err(format!("the API saw {seen} requests, not {expected}"));
        }
        self.calls += calls;
        if let Some(telemetry) = &self.telemetry {
            telemetry.wait_for_spans(self.calls)?;
        }
        Ok(made)
    }

    /// The most resident memory that it had, in bytes.
    pub(crate) fn peak(&self) -> f64 {
        self.process.peak() as f64 * 1024.0
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If it is the gateway, and did not tell of each call what it was to tell.
    pub(crate) fn end(self) -> Result<(), String> {
        let Some(telemetry) = self.telemetry else {
            return Ok(());
        };
        self.process.stop();
        telemetry.check(self.calls)
    }
}

impl Cost {
    /// In seconds.
    pub(crate) fn cpu_per_call(&self) -> f64 {
        self.cpu / self.calls
    }

    pub(crate) fn calls_per_second(&self) -> f64 {
        self.calls / self.time
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.cpu += other.cpu;
        self.time += other.time;
    }
}

async fn ask(server: SocketAddr) -> Result<Option<String>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{server}"))
        .unwrap()
        .timeout(Duration::from_secs(5));
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let request = GetSecretQuestionRequest {
        username: USERNAME.to_owned(),
    };
    let answer = PasswordResetServiceClient::new(channel)
        .get_secret_question(request)
        .await?;
    Ok(answer.into_inner().secret_question)
}
