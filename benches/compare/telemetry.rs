//! What the gateway tells of its calls: a line of its log for each, and spans.

use std::{
    io::Read,
    process::ChildStderr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{collector::Collector, wait};

/// A client span and a server span.
const SPANS_PER_CALL: f64 = 2.0;

/// What has come of it.
pub(crate) struct Telemetry {
    sampled: f64,
    /// The lines of its log.
    lines: Arc<AtomicUsize>,
    /// Its own.
    collector: Collector,
}

impl Telemetry {
    /// Of a gateway that is just started, with its log and its collector.
    pub(crate) fn new(log: ChildStderr, collector: Collector, sampled: f64) -> Self {
        Self {
            sampled,
            lines: count_lines(log),
            collector,
        }
    }

    /// Waits until the spans of so many calls have arrived, if all calls have spans: sending them is part of the cost.
    pub(crate) fn wait_for_spans(&self, calls: u32) -> Result<(), String> {
        let expected = (SPANS_PER_CALL * f64::from(calls)) as usize;
        if self.sampled < 1.0 || wait::until(|| self.collector.spans() >= expected) {
            return Ok(());
        }
        Err(format!("{} spans of {calls} calls", self.collector.spans()))
    }

    /// Whether so many calls have been logged and have had spans, after the end of the gateway: or it was cheap for the
    /// wrong reason.
    pub(crate) fn check(&self, calls: u32) -> Result<(), String> {
        let lines = || self.lines.load(Ordering::SeqCst);
        if !wait::until(|| lines() >= calls as usize) {
            return Err(format!("{} log lines of {calls} calls", lines()));
        }
        let traced = self.collector.spans() as f64 / SPANS_PER_CALL;
        let expected = self.sampled * f64::from(calls);
        // Which calls are sampled is chance. All of them is none.
        let deviation = (expected * (1.0 - self.sampled)).sqrt();
        if (traced - expected).abs() > 6.0 * deviation {
            return Err(format!("{traced} of {calls} calls have spans"));
        }
        Ok(())
    }
}

/// Reads the log, as a container's runtime would.
fn count_lines(mut log: ChildStderr) -> Arc<AtomicUsize> {
    let lines = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&lines);
    thread::spawn(move || {
        let mut bytes = [0; 64 * 1024];
        while let Ok(length @ 1..) = log.read(&mut bytes) {
            counted.fetch_add(
                bytes[..length]
                    .iter()
                    .filter(|byte| **byte == b'\n')
                    .count(),
                Ordering::SeqCst,
            );
        }
    });
    lines
}
