//! The standard health service, `grpc.health.v1`, kept in step with the gateway's readiness.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::MAX_INFO_MESSAGE;
use crate::readiness::{Changes, Readiness};

/// What the health service says, of the whole server, `""`, and of the service of that name.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    reporter: HealthReporter,
    name: &'static str,
    readiness: Readiness,
}

/// The health service and what it says; not serving, until it is told.
pub(super) async fn service(
    name: &'static str,
    readiness: Readiness,
) -> (HealthServer<impl Health>, Reporter) {
    let (reporter, service) = health_reporter();
    let reporter = Reporter {
        reporter,
        name,
        readiness,
    };
    // tonic begins with "serving".
    reporter.report().await;
    (
        service.max_decoding_message_size(MAX_INFO_MESSAGE),
        reporter,
    )
}

impl Reporter {
    /// Says what is the case now.
    pub(super) async fn report(&self) {
        let is_ready = self.readiness.not_ready_reason().is_none();
        let status = if is_ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in ["", self.name] {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Says every change.
    pub(super) async fn follow(self, mut changes: Changes) {
        while changes.next().await {
            self.report().await;
        }
    }
}
