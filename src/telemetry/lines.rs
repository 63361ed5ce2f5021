//! Where log lines go: to standard error, those that come close together in one write. A line waits for no longer than the
//! tasks that are ready take; with nothing else to do it is written at once.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, task::yield_now};

/// How many bytes may wait.
const MOST: usize = 16 * 1024;

static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Takes whole lines.
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (is_first, is_full) = add(line);
        if is_full || (is_first && !write_soon()) {
            write_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all();
        Ok(())
    }
}

/// Has what waits written when the tasks that are ready have run; `false` if there is no runtime here.
fn write_soon() -> bool {
    /// Also when the runtime ends before that, or has ended.
    struct Last;

    impl Drop for Last {
        fn drop(&mut self) {
            write_all();
        }
    }

    let Ok(runtime) = Handle::try_current() else { return false };
    let last = Last;
    runtime.spawn(async move {
        let _last = last;
        yield_now().await;
    });
    true
}

/// Whether the line is the first that waits, and whether no more should.
fn add(line: &[u8]) -> (bool, bool) {
    let mut waiting = waiting();
    let is_first = waiting.is_empty();
    waiting.extend_from_slice(line);
    (is_first, waiting.len() >= MOST)
}

/// Where nobody can read them, the lines are lost.
fn write_all() {
    let mut waiting = waiting();
    let _ = io::stderr().write_all(&waiting);
    waiting.clear();
}

fn waiting() -> MutexGuard<'static, Vec<u8>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_the_tasks_and_not_for_a_runtime_that_has_ended() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let line = b"a line of a test\n";
        runtime.block_on(async {
            Lines.write_all(line).unwrap();
            assert_eq!(*waiting(), line);
            yield_now().await;
            yield_now().await;
            assert!(waiting().is_empty());
            for _ in 0..=MOST / line.len() {
                Lines.write_all(line).unwrap();
            }
            assert!(waiting().is_empty(), "there were many");
            Lines.write_all(line).unwrap();
        });
        let context = runtime.handle().clone();
        drop(runtime);
        assert!(waiting().is_empty(), "its end writes what waited");
        let _in_context = context.enter();
        Lines.write_all(line).unwrap();
        assert!(waiting().is_empty());
    }
}
