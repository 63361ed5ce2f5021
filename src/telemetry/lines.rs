//! Where log lines go: to standard error, those that come close together in one write. A line waits for no longer than the
//! tasks that are ready take; with nothing else to do it is written at once.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, task::yield_now};

/// How many bytes may wait: what a pipe takes as a whole or not at all, also beside other writers.
const MOST: usize = 4096;

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
    lines: Mutex<Vec<u8>>,
    to: fn() -> W,
}

impl<W: Write + 'static> Waiting<W> {
    const fn new(to: fn() -> W) -> Self {
        Self { lines: Mutex::new(Vec::new()), to }
    }

    /// Writes the line, or has it written soon.
    fn take(&'static self, line: &[u8]) {
        // Not with the lock held: where the runtime has ended, the task that writes does so at once.
        if self.add(line) && !self.write_soon() {
            self.write_all();
        }
    }

    /// Whether the line is the first that waits.
    fn add(&self, line: &[u8]) -> bool {
        let mut lines = self.lines();
        if lines.len() + line.len() > MOST {
            self.write(&mut lines);
        }
        lines.extend_from_slice(line);
        lines.len() == line.len()
    }

    /// Has what waits written when the tasks that are ready have run; `false` if there is no runtime here.
    fn write_soon(&'static self) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let last = Last(self);
        runtime.spawn(async move {
            let _last = last;
            yield_now().await;
        });
        true
    }

    fn write_all(&self) {
        self.write(&mut self.lines());
    }

    /// Where nobody can read them, the lines are lost.
    fn write(&self, lines: &mut Vec<u8>) {
        let _ = (self.to)().write_all(lines);
        lines.clear();
    }

    fn lines(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits at its end; also when the runtime ends before that, or has ended.
struct Last<W: Write + 'static>(&'static Waiting<W>);

impl<W: Write> Drop for Last<W> {
    fn drop(&mut self) {
        self.0.write_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_the_tasks_and_not_for_a_runtime_that_has_ended() {
        static LINES: Waiting<io::Sink> = Waiting::new(io::sink);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let line = [b'.'; 1000];
        runtime.block_on(async {
            LINES.take(&line);
            assert_eq!(*LINES.lines(), line);
            yield_now().await;
            yield_now().await;
            assert!(LINES.lines().is_empty());
            for _ in 0..=MOST / line.len() {
                LINES.take(&line);
            }
            assert_eq!(*LINES.lines(), line, "there was no room for it beside the others");
        });
        let context = runtime.handle().clone();
        drop(runtime);
        assert!(LINES.lines().is_empty(), "its end writes what waited");
        let _in_context = context.enter();
        LINES.take(&line);
        assert!(LINES.lines().is_empty());
    }
}
