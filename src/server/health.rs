//! The standard health service, `grpc.health.v1`, kept in step with the gateway's readiness.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use crate::readiness::Readiness;

/// The health service of the whole server, `""`, and of the service of that name; and what keeps it up to date, to be
/// polled beside it.
pub(super) async fn service(
    name: &'static str,
    readiness: Readiness,
) -> (HealthServer<impl Health>, impl Future<Output = ()>) {
    let (reporter, service) = health_reporter();
    let mut changes = readiness.changes();
    // A reporter begins with "serving".
    report(&reporter, name, &readiness).await;
    let follow = async move {
        while changes.next().await {
            report(&reporter, name, &readiness).await;
        }
    };
    (service, follow)
}

async fn report(reporter: &HealthReporter, name: &str, readiness: &Readiness) {
    let status = if readiness.trouble().is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
    reporter.set_service_status("", status).await;
    reporter.set_service_status(name, status).await;
}
