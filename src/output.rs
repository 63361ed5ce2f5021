//! Prints text on standard output and standard error without waiting long for a reader that has stopped.

use std::{io::Write, sync::mpsc, thread, time::Duration};

/// The longest wait for a reader. One that reads at all needs less, and the start and the exit can wait this long.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Prints the text. It is lost if nobody reads it in time.
pub fn print(mut to: impl Write + Send + 'static, text: String) {
    let (sender, receiver) = mpsc::channel();
    // The end of the program does not wait for this thread.
    thread::spawn(move || {
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        let _ = sender.send(());
    });
    let _ = receiver.recv_timeout(TIMEOUT);
}
