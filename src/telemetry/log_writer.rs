//! Where log lines go: to standard error, by a thread of their own, those that come close together in one write. So no call
//! waits until a line is written and its reader woken; and the runtime keeps no short timer for it, which would be set anew
//! each time that it waits for its sockets.

use std::{
    io::{self, Write},
    mem,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

/// How many bytes may wait; with more, who has another line writes them. At 40,000 calls a second they come in 2 ms.
const MOST: usize = 16 * 1024;
/// How many bytes are written at a time: what a pipe takes as a whole or not at all, also beside other writers.
const AT_A_TIME: usize = 4096;
/// How long a line waits for others. If the process is killed in that time, the line is lost.
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
        STDERR.write();
        Ok(())
    }
}

/// The lines that wait to be written there.
struct Waiting<W> {
    lot: Mutex<Lot>,
    /// What is being written, by one at a time and before anything that waits; empty in between.
    leaving: Mutex<Vec<u8>>,
    to: fn() -> W,
    /// None: there could be no such thread.
    writer: OnceLock<Option<Thread>>,
}

/// Lines that leave together.
struct Lot {
    text: Vec<u8>,
    /// Whether the writer is awake and will look at them.
    is_seen_to: bool,
}

impl<W: Write + 'static> Waiting<W> {
    const fn new(to: fn() -> W) -> Self {
        let lot = Mutex::new(Lot {
            text: Vec::new(),
            is_seen_to: false,
        });
        Self {
            lot,
            leaving: Mutex::new(Vec::new()),
            to,
            writer: OnceLock::new(),
        }
    }

    /// Has the line written soon.
    fn take(&'static self, line: &[u8]) {
        let mut lot = lock(&self.lot);
        while !lot.text.is_empty() && lot.text.len() + line.len() > MOST {
            drop(lot);
            self.write();
            lot = lock(&self.lot);
        }
        lot.text.extend_from_slice(line);
        if !mem::replace(&mut lot.is_seen_to, true) {
            drop(lot);
            self.wake_writer();
        }
    }

    /// Writes what waits; when this is done, all that was taken before is written. Where nobody can read them, the lines are
    /// lost.
    fn write(&self) {
        let mut leaving = lock(&self.leaving);
        mem::swap(&mut *leaving, &mut lock(&self.lot).text);
        for lines in Pieces(&leaving) {
            let _ = (self.to)().write_all(lines);
        }
        leaving.clear();
    }

    fn wake_writer(&'static self) {
        let start = || {
            thread::Builder::new()
                .name("log".to_owned())
                .spawn(|| self.write_what_comes())
                .ok()
        };
        match self
            .writer
            .get_or_init(|| start().map(|handle| handle.thread().clone()))
        {
            Some(writer) => writer.unpark(),
            None => {
                lock(&self.lot).is_seen_to = false;
                self.write();
            }
        }
    }

    fn write_what_comes(&self) -> ! {
        loop {
            thread::sleep(SOON);
            if self.is_quiet() {
                thread::park();
            } else {
                self.write();
            }
        }
    }

    /// Whether nothing has come lately. If so, who takes the next line wakes the writer: while many come, nobody has to.
    fn is_quiet(&self) -> bool {
        let mut lot = lock(&self.lot);
        lot.is_seen_to = !lot.text.is_empty();
        !lot.is_seen_to
    }
}

/// Whole lines, as many as are written at a time; a longer one by itself.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let is_end = |byte: &u8| *byte == b'\n';
        let first = &self.0[..self.0.len().min(AT_A_TIME)];
        let end = first
            .iter()
            .rposition(is_end)
            .or_else(|| self.0.iter().position(is_end));
        let (piece, rest) = self.0.split_at(end.map_or(self.0.len(), |end| end + 1));
        self.0 = rest;
        (!piece.is_empty()).then_some(piece)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what is written, each write by itself.
    struct Pipe(&'static Mutex<Vec<Vec<u8>>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(self.0).push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_once_whole_in_order_and_together_with_others() {
        const THREADS: usize = 4;
        const LINES: usize = 500;
        static WRITTEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        static WAITING: Waiting<Pipe> = Waiting::new(|| Pipe(&WRITTEN));
        let line = |thread, number| format!("{thread} {number} {:.<50}\n", "");
        let take = |thread| {
            move || (0..LINES).for_each(|number| WAITING.take(line(thread, number).as_bytes()))
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| thread::spawn(take(thread)))
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        WAITING.write();
        let written = lock(&WRITTEN);
        assert!(
            written
                .iter()
                .all(|lot| lot.len() <= AT_A_TIME && lot.ends_with(b"\n"))
        );
        assert!(
            written.len() < THREADS * LINES / 2,
            "{} writes",
            written.len()
        );
        let text = String::from_utf8(written.concat()).unwrap();
        for thread in 0..THREADS {
            let of_thread: Vec<_> = text
                .split_inclusive('\n')
                .filter(|line| line.starts_with(&format!("{thread} ")))
                .collect();
            assert_eq!(
                of_thread,
                (0..LINES)
                    .map(|number| line(thread, number))
                    .collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_line_that_comes_alone_is_written_soon_also_after_a_rest() {
        static WRITTEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        static WAITING: Waiting<Pipe> = Waiting::new(|| Pipe(&WRITTEN));
        for line in ["one\n", "another\n"] {
            WAITING.take(line.as_bytes());
            while lock(&WRITTEN)
                .last()
                .is_none_or(|last| last != line.as_bytes())
                || lock(&WAITING.lot).is_seen_to
            {
                thread::yield_now();
            }
        }
        assert_eq!(lock(&WRITTEN).concat(), b"one\nanother\n");
    }

    #[test]
    fn a_line_that_is_longer_than_what_is_written_at_a_time_goes_by_itself() {
        static WRITTEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        static WAITING: Waiting<Pipe> = Waiting::new(|| Pipe(&WRITTEN));
        for length in [AT_A_TIME, AT_A_TIME + 1, MOST, 2 * MOST] {
            let long = [".".repeat(length), "\n".to_owned()].concat();
            let lines = ["short\n", &long, "short\n"];
            lines.iter().for_each(|line| WAITING.take(line.as_bytes()));
            WAITING.write();
            let written = String::from_utf8(mem::take(&mut *lock(&WRITTEN)).concat()).unwrap();
            assert_eq!(written, lines.concat());
        }
    }
}
