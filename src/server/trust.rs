//! How long the certificate of a connection's client is trusted.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use tokio::{sync::watch, time::sleep};

use crate::tls::ServerTls;

/// How often the wall clock is read again, because it may be adjusted.
const CLOCK_INTERVAL: Duration = Duration::from_secs(600);

/// The certificates of a client.
pub(super) struct Trust {
    /// The client's own certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// When the client's own certificate ends.
    pub(super) not_after: SystemTime,
    /// The TLS settings of new connections. Those that verified the chain count as seen, so `changed` completes at the next
    /// reload.
    pub(super) current: watch::Receiver<Arc<ServerTls>>,
}

impl Trust {
    /// Completes when the client is no longer trusted, and says why.
    pub(super) async fn until_ended(&mut self) -> &'static str {
        loop {
            let left = self.not_after.duration_since(SystemTime::now());
            let Some(left) = left.ok().filter(|left| !left.is_zero()) else {
                return "its certificate has expired";
            };
            tokio::select! {
                () = sleep(left.min(CLOCK_INTERVAL)) => {}
                () = changed(&mut self.current) => {
                    if !self.current.borrow_and_update().trusts(&self.chain) {
                        return "its certificate is no longer trusted";
                    }
                }
            }
        }
    }
}

/// Completes when there is a new value.
async fn changed(current: &mut watch::Receiver<Arc<ServerTls>>) {
    if current.changed().await.is_err() {
        // Nothing follows the files any more.
        pending::<()>().await;
    }
}
