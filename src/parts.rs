//! The parts that `benches/` measures, each as a call of the running program has it.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt;

use crate::{
    app_key::Owner,
    config::{Api, Serve},
    contract::Rpc,
    envelope::{self, Values},
    error::Error,
    peer::Peer,
    readiness::Readiness,
    rest, run,
    server::{self, AroundCalls, Rpcs},
    status::Verdict,
    steps,
    telemetry::{export::Export, logs},
};

/// An answer of the API's to a call.
#[derive(Debug)]
pub struct Answer {
    rpc: Rpc,
    answer: envelope::Answer,
}

/// An answer that is not a success.
#[derive(Debug)]
pub struct Failure {
    rpc: Rpc,
    error: Error,
}

/// The gateway from the layer around every call on, without listeners.
#[derive(Clone, Debug)]
pub struct Gateway(AroundCalls<Rpcs, Routes>);

impl Answer {
    /// An answer to a call of that rpc, whose request has those values and the key.
    pub fn new(
        rpc: Rpc,
        http_status: u16,
        content_type: &str,
        body: &str,
        values: &[&str],
    ) -> Self {
        let (content_type, body) = (
            Some(content_type.to_owned()),
            Bytes::copy_from_slice(body.as_bytes()),
        );
        let values = Values::of(values.iter().copied());
        Self {
            rpc,
            answer: envelope::Answer {
                http_status,
                content_type,
                retry_after: None,
                body,
                values,
            },
        }
    }

    /// What the answer means.
    ///
    /// # Errors
    ///
    /// If it is not a success.
    pub fn verdict(&self) -> Result<(), Failure> {
        let failure = |refusal| Failure {
            rpc: self.rpc,
            error: Error::Refused(refusal),
        };
        steps::verdict(self.rpc, &self.answer, false).map_err(failure)
    }
}

impl Failure {
    /// The status that the caller gets.
    pub fn status(&self) -> Status {
        Verdict::of(&self.error, self.rpc.only_reads(), Owner::Gateway).status(&self.error)
    }
}

impl Gateway {
    /// The gateway before an API that is reached without TLS, once for the process. Its log lines are made and go nowhere.
    ///
    /// # Panics
    ///
    /// If the settings are others, or cannot be used.
    pub async fn start(config: Serve) -> Self {
        let Api::Url(base) = &config.api else {
            panic!("no URL")
        };
        rustls::crypto::ring::default_provider()
            .install_default()
            .expect("nobody has installed another");
        let client = rest::client(false, config.connect_timeout, Vec::new())
            .expect("no certificate can be wrong");
        let export = Export::start(&config.telemetry).expect("nothing is exported");
        logs::start(&config.telemetry, io::sink, Some(export.rejected()));
        let readiness = Readiness::new();
        let keys = run::app_keys(&config.key, &readiness);
        let (service, observer) = run::service(&config, client, base, keys, readiness, &export);
        let local = SocketAddr::from(([127, 0, 0, 1], 50051));
        let peer = Peer::Tcp {
            local: Some(local),
            remote: SocketAddr::from(([127, 0, 0, 1], 50052)),
        };
        Self(server::unconnected(service, config.limits, observer, peer).await)
    }

    /// The answer to a request.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let Ok(answer) = self.0.clone().oneshot(request).await;
        self.0.tell();
        answer
    }
}
