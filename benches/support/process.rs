//! A child process: killed when it is dropped, stopped by SIGTERM when its exit status counts.

use std::{fs, process::Child};

use rustix::process::{Pid, Signal, kill_process};

/// A running child process.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// A field of `/proc/<pid>/status` in bytes: `VmRSS` is resident memory, `VmHWM` its peak.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// Sends SIGTERM, as Kubernetes does, and waits for exit status 0.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        let status = self.0.wait().unwrap();
        assert!(status.success(), "SIGTERM ended it with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
