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
        let mut waiting = waiting();
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(line);
        if waiting.len() >= MOST || (is_first && !write_soon()) {
            write_all(&mut waiting);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(&mut waiting());
        Ok(())
    }
}

/// Has what waits written when the tasks that are ready have run; `false` if there is no runtime here.
fn write_soon() -> bool {
    /// Also when the runtime ends before that.
    struct Last;

    impl Drop for Last {
        fn drop(&mut self) {
            write_all(&mut waiting());
        }
    }

    let Ok(runtime) = Handle::try_current() else { return false };
    runtime.spawn(async {
        let _last = Last;
        yield_now().await;
    });
    true
}

fn waiting() -> MutexGuard<'static, Vec<u8>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where nobody can read them, the lines are lost.
fn write_all(lines: &mut Vec<u8>) {
    let _ = io::stderr().write_all(lines);
    lines.clear();
}
