//! The signals of the operating system that the program handles.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

/// Completes at the first SIGTERM (Kubernetes), SIGINT (Ctrl-C) or SIGQUIT. From now on none of them ends the process by
/// itself.
///
/// # Errors
///
/// If the system does not let the program handle them.
pub(crate) fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    })
}

/// Changes at each SIGHUP, so that the files that are followed are read at once.
///
/// # Errors
///
/// If the system does not let the program handle them.
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
