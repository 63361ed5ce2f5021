//! What becomes of what is measured. Of finished spans every one is delivered or counted as dropped, none waits beyond a
//! fixed number, and a collector that does not take them is reported at most once a minute.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};
use tracing::warn;

/// How often an unwilling collector is reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The counts that the queue and the exporter share.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    waiting: AtomicUsize,
    queue_full: AtomicU64,
    export_failed: AtomicU64,
    rejected_points: AtomicU64,
    complaint: RateLimitedWarning,
}

/// Says what goes wrong all the time, but not all the time.
#[derive(Debug, Default)]
struct RateLimitedWarning(Mutex<Option<Instant>>);

impl RateLimitedWarning {
    /// Says it, unless that was done a moment ago.
    fn make(&self, say: impl FnOnce()) {
        self.make_at(Instant::now(), say);
    }

    fn make_at(&self, now: Instant, say: impl FnOnce()) {
        let Ok(mut last) = self.0.lock() else { return };
        if last.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            *last = Some(now);
            say();
        }
    }
}

impl Counts {
    /// Spans that were dropped because too many waited.
    pub(super) fn queue_full(&self) -> u64 {
        self.queue_full.load(Ordering::Relaxed)
    }

    /// One more span waits. `false` if that many do already: then it is dropped.
    pub(super) fn enter(&self, most: usize) -> bool {
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < most;
        if !has_room {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.no_room();
        }
        has_room
    }

    /// A span was not made, because no more may wait.
    pub(super) fn no_room(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
        self.report("too many wait to be sent");
    }

    /// The collector has rejected that many spans of a batch that it took.
    pub(super) fn rejected_spans(&self, spans: u64) {
        self.export_failed.fetch_add(spans, Ordering::Relaxed);
    }

    /// The collector has rejected that many points of metrics that it took.
    pub(super) fn rejected_points(&self, points: u64) {
        self.rejected_points.fetch_add(points, Ordering::Relaxed);
    }

    /// Spans that the collector did not take.
    pub(super) fn export_failed(&self) -> u64 {
        self.export_failed.load(Ordering::Relaxed)
    }

    /// Spans that are neither delivered nor dropped.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Says that spans were lost.
    fn report(&self, why: &str) {
        self.complaint.make(|| {
            warn!(
                why,
                dropped = self.queue_full() + self.export_failed(),
                "spans are dropped"
            );
        });
    }
}

/// An exporter that counts.
#[derive(Debug)]
pub(super) struct Counted<E> {
    inner: E,
    counts: Arc<Counts>,
}

impl<E> Counted<E> {
    pub(super) fn new(inner: E, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (size, failed_before) = (batch.len(), self.counts.export_failed());
        let result = self.inner.export(batch).await;
        if let Err(error) = &result {
            self.counts
                .export_failed
                .fetch_add(size as u64, Ordering::Relaxed);
            self.counts
                .report(&format!("the collector does not take them: {error}"));
        } else if self.counts.export_failed() > failed_before {
            self.counts.report("the collector rejects some");
        }
        self.counts.waiting.fetch_sub(size, Ordering::Relaxed);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter of metrics that says when the collector does not take them. Of those that could not be sent none are lost: the
/// next ones contain them.
#[derive(Debug)]
pub(super) struct Reported<E> {
    inner: E,
    counts: Arc<Counts>,
    complaint: RateLimitedWarning,
}

impl<E> Reported<E> {
    pub(super) fn new(inner: E, counts: Arc<Counts>) -> Self {
        Self {
            inner,
            counts,
            complaint: RateLimitedWarning::default(),
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Reported<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let rejected_before = self.counts.rejected_points.load(Ordering::Relaxed);
        let result = self.inner.export(metrics).await;
        let rejected = self.counts.rejected_points.load(Ordering::Relaxed) - rejected_before;
        if rejected > 0 {
            self.complaint
                .make(|| warn!(rejected, "the collector rejects some of the metrics"));
        }
        if let Err(error) = &result {
            // The SDK's words: a gRPC code or an HTTP status, and what the system says. No URL, nothing of the collector's.
            self.complaint
                .make(|| warn!(%error, "the collector does not take the metrics"));
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_made_once_a_minute() {
        let (complaint, start) = (RateLimitedWarning::default(), Instant::now());
        let is_made = |after| {
            let mut made = false;
            complaint.make_at(start + Duration::from_secs(after), || made = true);
            made
        };
        assert_eq!(
            [0, 1, 59, 60, 61, 119, 120].map(is_made),
            [true, false, false, true, false, false, true]
        );
    }
}
