//! Lets the tasks that are ready go before a connection's, each time that it has something to do: so the answers of several
//! calls leave in one write, where else each would leave in its own. Who is alone loses nothing by it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// The task of a connection, which goes last.
pub(super) struct Batch<F> {
    task: Pin<Box<F>>,
    has_waited: bool,
}

impl<F> Batch<F> {
    pub(super) fn new(task: F) -> Self {
        Self { task: Box::pin(task), has_waited: false }
    }
}

impl<F: Future> Future for Batch<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            // To the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.task.as_mut().poll(cx)
    }
}
