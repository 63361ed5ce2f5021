//! Finished spans on their way to the exporter. They wait until there are enough for a request, or until they have waited long
//! enough, and a thread sends them, so that no call waits for a collector.
//!
//! The SDK's batch processor does the same, but takes memory for the longest queue at once, and has whole batches in memory in
//! four forms at a time; and it keeps its own count of what it drops to itself. Here the queue is as long as it has to be, and
//! where spans are few, so are those in a request.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use futures_executor::block_on;
use opentelemetry::Context;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};

use super::delivery::Counts;
use crate::config::otel::SpanBounds;

/// So many spans are sent without waiting for more,
const FEW: usize = 64;
/// if the last ones were sent as long ago as this. In between there may come enough for a full batch, which costs less.
const PAUSE: Duration = Duration::from_millis(10);
/// The most that a flush may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The queue, whose spans a thread takes to an exporter.
#[derive(Debug)]
pub(super) struct Batches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: SpanBounds,
    counts: Arc<Counts>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    spans: VecDeque<SpanData>,
    /// Somebody waits for the queue to be empty.
    is_shortened: bool,
    /// No more will come.
    is_closed: bool,
}

impl Batches {
    pub(super) fn new(
        exporter: impl SpanExporter + 'static,
        counts: Arc<Counts>,
        bounds: SpanBounds,
    ) -> Self {
        let shared = Arc::new(Shared {
            bounds,
            counts,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let sender = Arc::clone(&shared);
        // No thread of the runtime's, since an exporter may block.
        let thread = thread::Builder::new()
            .name("spans".to_owned())
            .spawn(move || sender.send(&exporter));
        thread.expect("a thread can be started");
        Self(shared)
    }
}

impl SpanBounds {
    /// How long ago the last batch must have been sent for the next one to be sent, if so many wait.
    fn pause(&self, waiting: usize) -> Duration {
        if waiting >= self.batch.min(self.waiting) {
            Duration::ZERO
        } else if waiting >= FEW {
            PAUSE.min(self.delay)
        } else {
            self.delay
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what comes, to the end.
    fn send(&self, exporter: &impl SpanExporter) {
        // What exporting does is nobody's call.
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let mut last = Instant::now();
        while let Some(batch) = self.next(last) {
            last = Instant::now();
            // The exporter counts and tells what goes wrong.
            let _ = block_on(exporter.export(batch));
        }
        let _ = exporter.shutdown();
        self.queue().is_shortened = false;
        self.changed.notify_all();
    }

    /// Waits for the batch that comes after that of `last`; none when there will be none.
    fn next(&self, last: Instant) -> Option<Vec<SpanData>> {
        let mut queue = self.queue();
        loop {
            let waiting = queue.spans.len();
            if waiting == 0 && queue.is_closed {
                return None;
            }
            if waiting == 0 && queue.is_shortened {
                queue.is_shortened = false;
                self.changed.notify_all();
            }
            let left =
                (last + self.bounds.pause(waiting)).saturating_duration_since(Instant::now());
            if waiting > 0 && (left.is_zero() || queue.is_shortened) {
                let batch = queue
                    .spans
                    .drain(..waiting.min(self.bounds.batch))
                    .collect();
                if queue.spans.is_empty() {
                    // What it took while the collector was down.
                    queue.spans.shrink_to(self.bounds.batch);
                }
                return Some(batch);
            }
            let left = if left.is_zero() {
                self.bounds.delay
            } else {
                left
            };
            queue = self
                .changed
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Sends all that wait, whether there are enough or not.
    fn empty(&self, mut queue: MutexGuard<'_, Queue>, timeout: Duration) -> OTelSdkResult {
        queue.is_shortened = true;
        self.changed.notify_all();
        let result = self
            .changed
            .wait_timeout_while(queue, timeout, |queue| queue.is_shortened);
        let queue = result.unwrap_or_else(PoisonError::into_inner).0;
        if queue.is_shortened {
            Err(OTelSdkError::Timeout(timeout))
        } else {
            Ok(())
        }
    }
}

impl SpanProcessor for Batches {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let Shared {
            bounds,
            counts,
            changed,
            ..
        } = &*self.0;
        if !span.span_context.is_sampled() {
            return;
        }
        if !counts.enter(bounds.waiting) {
            return;
        }
        let mut queue = self.0.queue();
        let before = queue.spans.len();
        queue.spans.push_back(span);
        drop(queue);
        if bounds.pause(before + 1) < bounds.pause(before) {
            changed.notify_all();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.empty(self.0.queue(), PATIENCE)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let mut queue = self.0.queue();
        queue.is_closed = true;
        self.0.empty(queue, timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_secs(20);

    /// Tells how many spans each batch has.
    #[derive(Debug)]
    struct Sizes(Sender<usize>);

    impl SpanExporter for Sizes {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            // As one that waits for an answer.
            tokio::task::yield_now().await;
            self.0.send(batch.len()).unwrap();
            Ok(())
        }
    }

    fn queue(bounds: SpanBounds) -> (SdkTracerProvider, Receiver<usize>) {
        let (sizes, batches) = mpsc::channel();
        let processor = Batches::new(Sizes(sizes), Arc::default(), bounds);
        (
            SdkTracerProvider::builder()
                .with_span_processor(processor)
                .build(),
            batches,
        )
    }

    fn end_spans(provider: &SdkTracerProvider, count: usize) {
        let tracer = provider.tracer("test");
        (0..count).for_each(|_| drop(tracer.start("span")));
    }

    #[test]
    fn a_few_spans_go_when_they_have_waited_or_are_flushed_and_more_at_once() {
        let (provider, batches) = queue(SpanBounds {
            waiting: 2048,
            batch: 512,
            delay: HOUR,
        });
        end_spans(&provider, FEW - 1);
        provider.force_flush().unwrap();
        assert_eq!(batches.try_recv(), Ok(FEW - 1));
        end_spans(&provider, FEW);
        assert_eq!(batches.recv_timeout(SOON), Ok(FEW));

        let delay = Duration::from_millis(20);
        let (provider, batches) = queue(SpanBounds {
            waiting: 2048,
            batch: 512,
            delay,
        });
        end_spans(&provider, 1);
        assert_eq!(batches.recv_timeout(SOON), Ok(1));
    }

    #[test]
    fn the_more_wait_the_sooner_they_go() {
        let bounds = SpanBounds {
            waiting: 2048,
            batch: 512,
            delay: HOUR,
        };
        assert_eq!(
            [FEW - 1, FEW, 511, 512].map(|waiting| bounds.pause(waiting)),
            [HOUR, PAUSE, PAUSE, Duration::ZERO]
        );
    }

    #[test]
    fn a_full_batch_goes_at_once_and_none_is_larger() {
        for (waiting, batch) in [(100, 10), (10, 100)] {
            let (provider, batches) = queue(SpanBounds {
                waiting,
                batch,
                delay: HOUR,
            });
            end_spans(&provider, 10);
            assert_eq!(batches.recv_timeout(SOON), Ok(10));
        }
        let (provider, batches) = queue(SpanBounds {
            waiting: 100,
            batch: 10,
            delay: HOUR,
        });
        end_spans(&provider, 35);
        provider.force_flush().unwrap();
        let sizes: Vec<_> = batches.try_iter().collect();
        assert!(
            sizes.iter().all(|size| *size <= 10) && sizes.iter().sum::<usize>() == 35,
            "{sizes:?}"
        );
    }

    #[test]
    fn the_end_sends_what_waits() {
        let (provider, batches) = queue(SpanBounds {
            waiting: 100,
            batch: 10,
            delay: HOUR,
        });
        end_spans(&provider, 3);
        provider.shutdown_with_timeout(SOON).unwrap();
        assert_eq!(batches.iter().collect::<Vec<_>>(), [3]);
    }
}
