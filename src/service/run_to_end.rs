//! Lets a write that was sent run to its end although its caller no longer waits. Otherwise the gateway would never learn
//! what the API did: whether a guess was right, and what a repetition of the call has to be told.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;

use crate::call::Call;

/// The work of a call. If it is dropped after a write was sent, a task of its own goes on with it.
pub(super) struct RunToEnd<T: Send + 'static> {
    /// `None` once it has completed.
    work: Option<BoxFuture<'static, T>>,
    call: Arc<Call>,
}

impl<T: Send> RunToEnd<T> {
    pub(super) fn new(call: Arc<Call>, work: impl Future<Output = T> + Send + 'static) -> Self {
        let work: BoxFuture<'static, T> = Box::pin(work);
        Self {
            work: Some(work),
            call,
        }
    }
}

impl<T: Send> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let work = self
            .work
            .as_mut()
            .expect("a future is not polled after its end");
        let result = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(result)
    }
}

impl<T: Send> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && !self.call.rpc.is_read_only()
            && self.call.record.stop_sending()
        {
            tokio::spawn(work);
        }
    }
}
