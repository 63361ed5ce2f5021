//! A peer's socket: tells what the peer sends, hands on so much of it a turn, and gives up a peer that takes nothing of what is
//! sent to it. HTTP/2's pings do not find that one out: they wait behind the rest.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf},
    time::{Sleep, sleep},
};

use super::crowd::Activity;

/// How long a peer may take none of what is there for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How much is read ahead, in bytes: some twenty calls. Every connection has room for as much.
const READ_AHEAD: usize = 2048;

pub(super) struct Socket<S> {
    /// Reads ahead, as a turn takes less than comes at once.
    stream: BufReader<S>,
    activity: Arc<Activity>,
    /// Ends the peer's time, if it takes nothing now.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead> Socket<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_AHEAD, stream),
            activity,
            stalled: None,
        }
    }

    /// Notes whether the peer takes what is written.
    fn wrote(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowance = self.activity.allowance();
        if allowance == 0 {
            // The rest in the next turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut stream = Pin::new(&mut self.stream);
        let read = ready!(stream.as_mut().poll_fill_buf(cx))?;
        let part = &read[..read.len().min(allowance).min(buf.remaining())];
        buf.put_slice(part);
        let taken = part.len();
        stream.consume(taken);
        self.activity.hear(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        iter,
        sync::atomic::{AtomicBool, Ordering},
        task::Wake,
    };

    use super::*;
    use crate::server::crowd::Crowd;

    /// Whether the connection will have another turn.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// What is handed on until there is nothing more in this turn.
    fn turn(socket: &mut Socket<&[u8]>) -> Vec<u8> {
        socket.activity.begin_turn();
        let woken = Arc::<Woken>::default();
        let waker = Arc::clone(&woken).into();
        let mut handed_on = Vec::new();
        loop {
            let mut room = [0; 100];
            let mut buf = ReadBuf::new(&mut room);
            match Pin::new(&mut *socket).poll_read(&mut Context::from_waker(&waker), &mut buf) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => {
                    assert!(woken.0.load(Ordering::Relaxed), "the rest would never come");
                    return handed_on;
                }
            }
            if buf.filled().is_empty() {
                return handed_on;
            }
            handed_on.extend_from_slice(buf.filled());
        }
    }

    #[test]
    fn what_comes_is_handed_on_a_part_each_turn_until_all_is() {
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
        let member = Crowd::new(1).enter().unwrap();
        let mut socket = Socket::new(sent.as_slice(), Arc::clone(&member.activity));
        let turns: Vec<_> = iter::repeat_with(|| turn(&mut socket))
            .take_while(|part| !part.is_empty())
            .collect();
        assert!(turns.iter().all(|part| part.len() <= 256));
        assert_eq!(turns.concat(), sent);
    }
}
