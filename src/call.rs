//! One call on its way through the gateway: its deadlines, its trace, and the record of what happens to it.
//!
//! A call is *cancelled* when it ends without the API's response: its caller cancels it, its deadline passes, or the gateway
//! displaces it, shuts down or panics.
//!
//! - If its REST request has not been sent, it is never sent. So the caller learns that the API has not seen the call.
//! - A read that has been sent ends at once.
//! - A write that has been sent goes on until its [`Call::work_deadline`] or the shutdown, so that the gateway learns what
//!   the API did.

mod record;
mod timeout;

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};
use tonic::Status;

#[cfg(any(test, fuzzing))]
pub(crate) use self::timeout::GRPC_TIMEOUT;
pub(crate) use self::{
    record::{CallRecord, Failure},
    timeout::{callers_timeout, time_budget},
};
use crate::{connect_info::ConnectInfo, error::Error, rpc::Rpc};

/// The context of a call, which the call layer passes to the handler as an extension of the request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) rpc: Rpc,
    pub(crate) caller: ConnectInfo,
    /// When the caller gets a response at the latest: shortly before its own deadline, or when `--timeout` is over.
    pub(crate) deadline: Instant,
    /// When its REST call ends at the latest. A write that was sent goes on after the deadline of its caller.
    pub(crate) work_deadline: Instant,
    /// When the caller stops waiting, if it has set a deadline.
    pub(crate) callers_deadline: Option<Instant>,
    /// Holds the call's server span, the parent of the REST call's span.
    pub(crate) trace: Context,
    /// Cancelled when the gateway cannot wait for the call any longer.
    pub(crate) shutdown: CancellationToken,
    /// The drain waits until it is dropped.
    pub(crate) _running: TaskTrackerToken,
    pub(crate) record: Arc<CallRecord>,
}

impl Call {
    /// Records how the call failed, and returns its status.
    pub(crate) fn fail(&self, error: &Error) -> Status {
        let time_left = self.callers_deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        self.record.fail(error, self.rpc.is_read_only(), time_left)
    }

    /// Cancels the call if its deadline has passed or the gateway shuts down, and returns which.
    pub(crate) fn ensure_not_cancelled(&self) -> Result<(), Error> {
        if self.shutdown.is_cancelled() {
            Err(self.shutting_down())
        } else if Instant::now() >= self.deadline {
            Err(self.timed_out())
        } else {
            Ok(())
        }
    }

    /// Waits that long, unless the call is cancelled before.
    pub(crate) async fn pause(&self, duration: Duration) -> Result<(), Error> {
        tokio::select! {
            error = self.until_cancelled() => Err(error),
            () = sleep(duration) => Ok(()),
        }
    }

    /// Waits until the deadline passes or the gateway shuts down, cancels the call, and returns which. (When the caller cancels
    /// it, its future is dropped.)
    pub(crate) async fn until_cancelled(&self) -> Error {
        tokio::select! {
            () = sleep_until(self.deadline) => self.timed_out(),
            () = self.shutdown.cancelled() => self.shutting_down(),
        }
    }

    /// As [`Self::until_cancelled`], but a write that was sent has until its `work_deadline`.
    pub(crate) async fn until_work_deadline(&self) -> Error {
        let time_is_over = async {
            sleep_until(self.deadline).await;
            self.record.cancel();
            if self.record.was_sent() {
                sleep_until(self.work_deadline).await;
            }
        };
        tokio::select! {
            () = time_is_over => self.timed_out(),
            () = self.shutdown.cancelled() => self.shutting_down(),
        }
    }

    fn timed_out(&self) -> Error {
        self.record.cancel();
        let sent = self.record.may_be_seen();
        Error::TimedOut { sent }
    }

    fn shutting_down(&self) -> Error {
        self.record.cancel();
        let sent = self.record.may_be_seen();
        Error::ShuttingDown { sent }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::connect_info::Transport;

    impl Call {
        /// A call that nobody has sent, with that much time.
        pub(crate) fn for_test(rpc: Rpc, time: Duration) -> Self {
            Self {
                rpc,
                caller: ConnectInfo {
                    transport: Transport::Unix,
                    identity: Arc::default(),
                },
                deadline: Instant::now() + time,
                work_deadline: Instant::now() + time,
                callers_deadline: None,
                trace: Context::new(),
                shutdown: CancellationToken::new(),
                _running: TaskTracker::new().token(),
                record: Arc::default(),
            }
        }
    }
}
