//! What is compared.

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    bench::Bench,
    envoy,
    gateway::{self, Settings},
    plain::{self, Kind},
    running::{Running, Started},
};

/// What can be put between gRPC callers and the API. All have one worker, but for the one that tells what a second is
/// worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Candidate {
    /// The gateway as it ships; one call in a hundred has spans
    Gateway,
    /// The same, with the spans of every call, and a queue in which none is lost
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
    pub(crate) const ALL: [Self; 7] = [
        Self::Gateway,
        Self::AllSpans,
        Self::TwoWorkers,
        Self::Envoy,
        Self::Reqwest,
        Self::Hyper,
        Self::Tonic,
    ];

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
        Running::new(bench, self.start_unasked(bench)?, self.asks_api())
    }

    fn start_unasked(self, bench: &Bench) -> Result<Started, String> {
        match self {
            Self::Gateway => gateway::start(
                bench,
                Settings {
                    workers: 1,
                    sampled: 0.01,
                },
            ),
            Self::AllSpans => gateway::start(
                bench,
                Settings {
                    workers: 1,
                    sampled: 1.0,
                },
            ),
            Self::TwoWorkers => gateway::start(
                bench,
                Settings {
                    workers: 2,
                    sampled: 0.01,
                },
            ),
            Self::Envoy => envoy::start(bench),
            Self::Reqwest => plain::start(bench, Kind::Reqwest),
            Self::Hyper => plain::start(bench, Kind::Hyper),
            Self::Tonic => plain::start(bench, Kind::Tonic),
        }
    }
}
