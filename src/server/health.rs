//! The standard health service, `grpc.health.v1`, which follows the gateway's readiness.

use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::MAX_AUXILIARY_MESSAGE;
use crate::{
    proto::password_reset_service_server::PasswordResetServiceServer, readiness::Readiness,
    service::Service,
};

/// The whole server, and the one service.
const NAMES: [&str; 2] = ["", PasswordResetServiceServer::<Service>::NAME];

/// Sets what the health service reports.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    reporter: HealthReporter,
    pub(super) readiness: Readiness,
}

/// The health service, which says NOT_SERVING until the gateway is ready.
pub(super) async fn service(readiness: Readiness) -> (HealthServer<impl Health>, Reporter) {
    let (reporter, service) = health_reporter();
    let reporter = Reporter {
        reporter,
        readiness,
    };
    // tonic begins with SERVING.
    reporter.report().await;
    let service = service.max_decoding_message_size(MAX_AUXILIARY_MESSAGE);
    (service, reporter)
}

impl Reporter {
    /// Reports the present state.
    pub(super) async fn report(&self) {
        let status = match self.readiness.not_ready_reason() {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Reports every change of readiness. The first state, ready, has been reported.
    pub(super) async fn follow(self) {
        let mut reason = None;
        loop {
            reason = self.readiness.changed(reason).await;
            self.report().await;
        }
    }
}
