//! What has still to be told of calls that are answered: their log lines. They are made when the connection's task has had its
//! turn, by which it writes the answers, so that nobody waits for them; and those of several calls together, which is faster.
//! Where there are several workers, that turn may come before the answer is handed over: then it waits for its line, as it
//! would without this.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use super::crowd::Activity;
use crate::telemetry::call_log::CallObservation;

/// The calls of a connection that are answered and not told of.
#[derive(Debug, Default)]
pub(super) struct Afterwards {
    calls: Mutex<Vec<CallObservation>>,
    connection: AtomicWaker,
}

impl Afterwards {
    /// Has a call told of when its answer has left, which begins to do so now.
    pub(super) fn add(&self, call: CallObservation) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
        // Also if the answer is not taken any more.
        self.connection.wake();
    }

    /// Tells of all that there are.
    pub(super) fn tell(&self) {
        let calls = mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        // Not under the lock, for which an answer may wait.
        drop(calls);
    }
}

/// The task of a connection, which then tells.
pub(super) struct Telling<F> {
    task: Pin<Box<F>>,
    activity: Arc<Activity>,
}

impl<F> Telling<F> {
    pub(super) fn new(task: F, activity: Arc<Activity>) -> Self {
        Self {
            task: Box::pin(task),
            activity,
        }
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io, iter, time::Instant};

    use http::HeaderMap;
    use tokio::task::yield_now;

    use super::*;
    use crate::{
        connect_info::ConnectInfo, server::crowd::Crowd, telemetry::call_log::CallObserver,
    };

    /// Log lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<usize>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            *self.0.lock().unwrap() += 1;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn count(&self) -> usize {
            *self.0.lock().unwrap()
        }
    }

    fn call() -> CallObservation {
        let peer = ConnectInfo::Unix { uid: None };
        CallObserver::without_export().begin(None, &HeaderMap::new(), peer, Instant::now())
    }

    #[tokio::test]
    async fn a_call_is_told_of_when_its_connection_has_had_its_turn_and_at_the_latest_when_it_ends()
    {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || to.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let crowd = Crowd::new(1);
        let member = crowd.enter().unwrap();
        let activity = Arc::clone(&member.activity);
        let before_each_turn = Arc::<Mutex<Vec<usize>>>::default();
        let (seen, counted) = (Arc::clone(&before_each_turn), lines.clone());
        let connection = tokio::spawn(Telling::new(
            poll_fn(move |_| {
                seen.lock().unwrap().push(counted.count());
                Poll::<()>::Pending
            }),
            Arc::clone(&activity),
        ));
        yield_now().await;
        // Nothing else would wake the connection.
        iter::repeat_with(call)
            .take(2)
            .for_each(|call| activity.afterwards.add(call));
        assert_eq!(lines.count(), 0, "the answers are not written yet");
        yield_now().await;
        assert_eq!(lines.count(), 2);
        assert_eq!(*before_each_turn.lock().unwrap(), [0, 0]);

        activity.afterwards.add(call());
        connection.abort();
        assert!(connection.await.unwrap_err().is_cancelled());
        drop((member, activity));
        assert_eq!(lines.count(), 3);
    }
}
