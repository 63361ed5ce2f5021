//! What is known of a connection while it lasts: its calls, when its peer last sent something, and whether it has to end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::error::Error;

/// How long the drain waits for the handshake of a connection that has just been accepted.
const DRAIN_HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(200);

/// The most health and reflection streams that one connection may have at a time.
const MAX_AUXILIARY_STREAMS: usize = 32;

/// The number of times that any peer has connected or sent something.
static EVENTS: AtomicU64 = AtomicU64::new(0);

/// The state of a connection, which its calls and the connection limit share.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The value of [`EVENTS`] when the peer connected. No other connection has it.
    pub(super) id: u64,
    /// The value of [`EVENTS`] when the peer last sent something.
    last_read: AtomicU64,
    /// Calls that have no response yet.
    running_calls: TaskTracker,
    /// Those of them whose message is not complete.
    reading: TaskTracker,
    had_call: AtomicBool,
    is_evicted: AtomicBool,
    /// Whether the client is no longer trusted.
    refuses_calls: AtomicBool,
    /// Tells the connection to end gracefully.
    pub(super) end: CancellationToken,
    /// Tells an evicted connection not to wait for its peer any longer.
    pub(super) grace_over: CancellationToken,
    pub(super) auxiliary_streams: Arc<Semaphore>,
}

impl ConnectionState {
    pub(super) fn new(end: CancellationToken) -> Self {
        let id = EVENTS.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            last_read: AtomicU64::new(id),
            running_calls: TaskTracker::new(),
            reading: TaskTracker::new(),
            had_call: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            refuses_calls: AtomicBool::new(false),
            end,
            grace_over: CancellationToken::new(),
            auxiliary_streams: Arc::new(Semaphore::new(MAX_AUXILIARY_STREAMS)),
        }
    }

    /// Notes that the peer has sent something.
    pub(super) fn record_read(&self) {
        let event = EVENTS.fetch_add(1, Ordering::Relaxed);
        self.last_read.store(event, Ordering::Relaxed);
    }

    /// Whether the peer has ever sent something.
    pub(super) fn has_read(&self) -> bool {
        self.last_read.load(Ordering::Relaxed) != self.id
    }

    /// Notes that a call has begun. It ends when the token is dropped.
    pub(super) fn begin_call(&self) -> TaskTrackerToken {
        self.had_call.store(true, Ordering::Relaxed);
        self.running_calls.token()
    }

    /// Notes that the message of a call is being read, until the token is dropped.
    pub(super) fn begin_reading(&self) -> TaskTrackerToken {
        self.reading.token()
    }

    /// Whether a call has no response yet. One whose message is not complete does not count: anybody can begin a call and
    /// leave it at that.
    pub(super) fn is_busy(&self) -> bool {
        self.running_calls.len() > self.reading.len()
    }

    /// Ends the connection gracefully, because another one needs its place.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.end.cancel();
    }

    /// Whether the connection ends because another one needs its place.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// Completes when a handshake must stop: the gateway drains, or a newer connection needs the place.
    pub(super) async fn until_handshake_must_stop(&self) {
        self.end.cancelled().await;
        if !self.is_evicted() {
            sleep(DRAIN_HANDSHAKE_TIMEOUT).await;
        }
    }

    /// Refuses further calls, because the client is no longer trusted.
    pub(super) fn refuse_calls(&self) {
        self.refuses_calls.store(true, Ordering::Relaxed);
    }

    /// Checks that the client is still trusted.
    ///
    /// # Errors
    ///
    /// [`Error::NoLongerTrusted`] if its calls must be refused.
    pub(super) fn check_trust(&self) -> Result<(), Error> {
        let is_trusted = !self.refuses_calls.load(Ordering::Relaxed);
        is_trusted.then_some(()).ok_or(Error::NoLongerTrusted)
    }

    /// Connections with a lower value are evicted first.
    pub(super) fn eviction_order(&self) -> (bool, u64) {
        (
            self.had_call.load(Ordering::Relaxed),
            self.last_read.load(Ordering::Relaxed),
        )
    }
}
