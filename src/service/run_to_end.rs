//! Lets a write that was sent run to its end although it is cancelled. Otherwise the gateway would never learn
//! what the API did: whether a guess was right, and which result a repetition of the call gets.

use std::sync::Arc;

use scopeguard::{ScopeGuard, guard};

use crate::{call::Call, telemetry::call_observer::log_late_success};

/// Does the work of a call. If this future is dropped after a write was sent, a task of its own goes on with the work, and
/// logs its success.
pub(super) async fn run_to_end<T: Send + 'static, E: Send + 'static>(
    call: Arc<Call>,
    work: impl Future<Output = Result<T, E>> + Unpin + Send + 'static,
) -> Result<T, E> {
    let mut work = guard(work, |work| {
        call.record.cancel();
        if !call.rpc.is_read_only() && call.record.was_sent() {
            tokio::spawn(async move {
                if work.await.is_ok() {
                    log_late_success(&call);
                }
            });
        }
    });
    let result = (&mut *work).await;
    // The work has ended, so nothing has to go on.
    drop(ScopeGuard::into_inner(work));
    result
}
