//! Which calls get spans: those that the configured sampler picks, while there is room for spans. With a collector that is
//! down or slow, to make spans that are then dropped would cost every call time for nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use super::delivery::Counts;

/// Put into the context of a call for which there was no room when it arrived; becomes true when a span of it would have
/// been made.
#[derive(Debug, Default)]
pub(super) struct NoRoom(AtomicBool);

/// The configured sampler, but for the calls that there is no room for. What they lose is counted as dropped.
#[derive(Clone, Debug)]
pub(super) struct WhileThereIsRoom {
    inner: Sampler,
    counts: Arc<Counts>,
}

impl WhileThereIsRoom {
    pub(super) fn new(inner: Sampler, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

impl ShouldSample for WhileThereIsRoom {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.inner.should_sample(parent, trace_id, name, span_kind, attributes, links);
        if let Some(NoRoom(lost)) = parent.and_then(Context::get) {
            // Below a span that was lost the sampler itself, which goes by the parent, wants none any more.
            if result.decision == SamplingDecision::RecordAndSample || lost.load(Ordering::Relaxed) {
                lost.store(true, Ordering::Relaxed);
                self.counts.no_room();
                result.decision = SamplingDecision::Drop;
            }
        }
        result
    }
}
