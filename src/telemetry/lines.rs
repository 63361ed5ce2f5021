//! Where log lines go: to standard error, those that come close together in one write. So a caller's next call does not wait
//! until the line of the one before is written and its reader woken.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

/// How many bytes may wait: what a pipe takes as a whole or not at all, also beside other writers.
const MOST: usize = 4096;
/// How long a line waits for others: the shortest that the runtime's clock knows. If the process is killed in that time, the
/// line is lost.
const SOON: Duration = Duration::from_millis(1);

static STDERR: Waiting<io::Stderr> = Waiting::new(io::stderr);

/// Takes whole lines.
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        STDERR.write_all();
        Ok(())
    }
}

/// The lines that wait to be written there.
struct Waiting<W> {
    lines: Mutex<Lot>,
    to: fn() -> W,
}

/// Lines that leave together.
struct Lot {
    text: Vec<u8>,
    /// Whether a task will write them.
    is_seen_to: bool,
}

impl<W: Write + 'static> Waiting<W> {
    const fn new(to: fn() -> W) -> Self {
        Self { lines: Mutex::new(Lot { text: Vec::new(), is_seen_to: false }), to }
    }

    /// Has the line written soon; at once, where there is no runtime.
    fn take(&'static self, line: &[u8]) {
        if self.add(line) {
            return;
        }
        let last = Last(self);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _last = last;
                sleep(SOON).await;
            });
        }
    }

    /// Whether the line was seen to before.
    fn add(&self, line: &[u8]) -> bool {
        let mut lines = self.lines();
        if lines.text.len() + line.len() > MOST {
            self.write(&mut lines.text);
        }
        lines.text.extend_from_slice(line);
        std::mem::replace(&mut lines.is_seen_to, true)
    }

    fn write_all(&self) {
        self.write(&mut self.lines().text);
    }

    /// Where nobody can read them, the lines are lost.
    fn write(&self, text: &mut Vec<u8>) {
        let _ = (self.to)().write_all(text);
        text.clear();
    }

    fn lines(&self) -> MutexGuard<'_, Lot> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits at its end; also when the runtime ends before that, or has ended.
struct Last<W: Write + 'static>(&'static Waiting<W>);

impl<W: Write> Drop for Last<W> {
    fn drop(&mut self) {
        let mut lines = self.0.lines();
        lines.is_seen_to = false;
        self.0.write(&mut lines.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_a_moment_and_not_for_a_runtime_that_has_ended() {
        static LINES: Waiting<io::Sink> = Waiting::new(io::sink);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let line = [b'.'; 1000];
        runtime.block_on(async {
            LINES.take(&line);
            assert_eq!(LINES.lines().text, line);
            sleep(2 * SOON).await;
            assert!(LINES.lines().text.is_empty());
            for _ in 0..=MOST / line.len() {
                LINES.take(&line);
            }
            assert_eq!(LINES.lines().text, line, "there was no room for it beside the others");
        });
        let context = runtime.handle().clone();
        drop(runtime);
        assert!(LINES.lines().text.is_empty(), "its end writes what waited");
        let _in_context = context.enter();
        LINES.take(&line);
        assert!(LINES.lines().text.is_empty());
    }
}
