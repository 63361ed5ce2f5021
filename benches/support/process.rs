//! A program under measurement, as the system sees it.

use std::{
    fs,
    process::{Child, Command},
};

/// The process, killed when it is no longer needed.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// User and system time, in seconds.
    #[allow(dead_code, reason = "not every benchmark measures it")]
    pub(crate) fn cpu(&self) -> f64 {
        /// By definition, on Linux.
        const TICKS_PER_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<f64>().unwrap())
            .sum();
        ticks / TICKS_PER_SECOND
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory has been, in KiB.
    #[allow(dead_code, reason = "not every benchmark measures it")]
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// How many files it has open.
    #[allow(dead_code, reason = "not every benchmark measures it")]
    pub(crate) fn open_files(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.0.id()))
            .unwrap()
            .count() as u64
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends it as Kubernetes does, and waits for that.
    #[allow(dead_code, reason = "not every benchmark cares for its end")]
    pub(crate) fn stop(mut self) {
        let killed = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success() && self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
