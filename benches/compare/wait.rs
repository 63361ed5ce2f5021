//! Waiting for other processes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until it is so, for ten seconds at the most; whether it is.
pub(crate) fn until(is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        thread::sleep(Duration::from_micros(200));
    }
    true
}
