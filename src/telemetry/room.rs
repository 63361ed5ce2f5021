//! Room for the spans of another call. With a collector that is down or slow, to make spans that are then dropped would
//! cost every call time for nothing: a call that arrives while no more may wait gets none, as if nothing were exported.

use std::sync::Arc;

use opentelemetry::{
    Context,
    trace::{SpanKind, TraceContextExt, TraceId},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use super::delivery::Counts;

/// How many spans may wait, and which calls have any.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    counts: Arc<Counts>,
    most: usize,
    sampler: Sampler,
}

/// Put into the context of a call that has no spans for want of room; with where to count them, if the sampler would have
/// had some.
#[derive(Debug)]
pub(super) struct NoRoom(Option<Arc<Counts>>);

impl Room {
    /// Room for that many spans, of the calls that the sampler picks, as far as `counts` says that they wait.
    pub(crate) fn new(counts: Arc<Counts>, most: usize, sampler: Sampler) -> Self {
        Self {
            counts,
            most,
            sampler,
        }
    }

    /// The trace that a call arrives in, marked if there is no room for spans.
    pub(super) fn mark(&self, trace: Context) -> Context {
        if self.counts.waiting() < self.most {
            return trace;
        }
        let lost = self.picks(&trace).then(|| Arc::clone(&self.counts));
        trace.with_value(NoRoom(lost))
    }

    /// Whether the sampler would pick a call in that trace; by an id such as it would get, if it brings none.
    fn picks(&self, trace: &Context) -> bool {
        let parent = trace.span().span_context().trace_id();
        let id = if parent == TraceId::INVALID {
            TraceId::from(rand::random::<u128>())
        } else {
            parent
        };
        let result = self
            .sampler
            .should_sample(Some(trace), id, "", &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

impl NoRoom {
    /// A span is not made.
    pub(super) fn count(&self) {
        if let Some(counts) = &self.0 {
            counts.no_room();
        }
    }
}
