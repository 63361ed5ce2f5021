//! The signals of the operating system that the program handles.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::info;

/// The signals that stop the program: SIGTERM (Kubernetes), SIGINT (Ctrl-C) and SIGQUIT.
#[derive(Debug)]
pub(crate) struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl ShutdownSignals {
    /// Handles the signals from now on, so that none of them ends the process by itself.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Completes at the first signal.
    pub(crate) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Changes at each SIGHUP, which asks for the followed files to be read at once.
///
/// # Errors
///
/// The system's.
pub(crate) fn reload() -> io::Result<watch::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            info!("SIGHUP: reading the followed files");
            sender.send_replace(());
        }
    });
    Ok(receiver)
}
