//! What has still to be told of calls that are answered: their log lines and measurements. They are made when the answers
//! have been written to the connection, so that nobody waits for them; and those of several calls together, which is faster.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use super::crowd::Activity;
use crate::telemetry::observer::Observed;

/// The calls of a connection that are answered and not told of.
#[derive(Debug, Default)]
pub(super) struct Afterwards {
    calls: Mutex<Vec<Observed>>,
    connection: AtomicWaker,
}

impl Afterwards {
    /// Has a call told of when its answer has left, which begins to do so now.
    pub(super) fn add(&self, call: Observed) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        // Also if the answer is not taken any more.
        self.connection.wake();
    }

    /// Tells of all that there are.
    pub(super) fn tell(&self) {
        drop(mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// The task of a connection, which then tells.
pub(super) struct Telling<F> {
    task: Pin<Box<F>>,
    activity: Arc<Activity>,
}

impl<F> Telling<F> {
    pub(super) fn new(task: F, activity: Arc<Activity>) -> Self {
        Self { task: Box::pin(task), activity }
    }
}

impl<F: Future> Future for Telling<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.activity.afterwards.connection.register(cx.waker());
        let result = self.task.as_mut().poll(cx);
        self.activity.afterwards.tell();
        result
    }
}
