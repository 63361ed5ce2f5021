//! Lets the tasks that are ready go before a connection's, each time that it has something to do: so the answers of several
//! calls leave in one write, where else each would leave in its own. Who is alone loses nothing by it.
//! In each such turn it takes only so much of what its peer has sent.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::crowd::Activity;

/// The task of a connection, which goes last.
pub(super) struct Batch<F> {
    task: F,
    activity: Arc<Activity>,
    has_waited: bool,
}

impl<F> Batch<F> {
    pub(super) fn new(task: F, activity: Arc<Activity>) -> Self {
        Self {
            task,
            activity,
            has_waited: false,
        }
    }
}

impl<F: Future + Unpin> Future for Batch<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            // To the end of the queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.activity.begin_turn();
        Pin::new(&mut self.task).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::server::crowd::Crowd;

    #[tokio::test]
    async fn it_goes_after_the_tasks_that_are_ready_each_time() {
        let order = Arc::<Mutex<Vec<_>>>::default();
        let note = |what: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let (wake, woken) = tokio::sync::oneshot::channel();
        let (first, second) = (note("connection"), note("connection again"));
        let member = Crowd::new(1).enter().unwrap();
        let task = Box::pin(async move {
            first();
            woken.await.unwrap();
            second();
        });
        let connection = tokio::spawn(Batch::new(task, Arc::clone(&member.activity)));
        let (answer, other_answer) = (note("answer"), note("other answer"));
        tokio::spawn(async move { answer() }).await.unwrap();
        while order.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        wake.send(()).unwrap();
        tokio::spawn(async move { other_answer() });
        connection.await.unwrap();
        assert_eq!(
            *order.lock().unwrap(),
            ["answer", "connection", "other answer", "connection again"]
        );
    }
}
