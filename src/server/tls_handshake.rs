//! The TLS handshake of a connection: who the client is, or why it is refused.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::ready,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::PollSemaphore;
use tracing::warn;
use x509_cert::{Certificate, der::Decode};

use super::{
    connection_state::ConnectionState, handshake_failure::HandshakeFailure, preface::close,
    trust::Trust,
};
use crate::{identity::Identity, telemetry::tls_metrics::TlsMetrics, tls::ServerTls};

/// How many handshakes may be polled at a time. One poll takes up to a millisecond of CPU. The limit keeps a burst of
/// handshakes from delaying calls on open connections.
const MAX_CONCURRENT_POLLS: usize = 1;

/// Makes TLS connections.
#[derive(Clone, Debug)]
pub(crate) struct TlsHandshakes {
    current: watch::Receiver<Arc<ServerTls>>,
    polls: PollSemaphore,
    metrics: TlsMetrics,
}

/// A connection after its handshake.
pub(super) struct Secured<S> {
    pub(super) stream: Box<TlsStream<S>>,
    pub(super) identity: Identity,
    /// `None` if the client sent no certificate.
    pub(super) trust: Option<Trust>,
}

impl TlsHandshakes {
    pub(crate) fn new(current: watch::Receiver<Arc<ServerTls>>, metrics: TlsMetrics) -> Self {
        Self {
            current,
            polls: PollSemaphore::new(Arc::new(Semaphore::new(MAX_CONCURRENT_POLLS))),
            metrics,
        }
    }

    /// Makes a connection; `None` if that fails. It logs the failure and counts it by its cause, except during the drain or if
    /// the peer has sent nothing.
    pub(super) async fn accept<S>(
        &self,
        stream: S,
        remote: SocketAddr,
        deadline: Instant,
        state: &ConnectionState,
    ) -> Option<Secured<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut current = self.current.clone();
        let config = Arc::clone(&current.borrow_and_update().config);
        let handshake = TlsAcceptor::from(config).accept(stream).into_fallible();
        let handshake = timeout_at(deadline, self.with_limited_polls(handshake));
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = state.until_handshake_must_stop() => {
                if state.is_evicted() {
                    self.report(&HandshakeFailure::evicted(), remote);
                }
                return None;
            }
        };
        let (failure, stream) = match accepted {
            Ok(Ok(stream)) => match secure(Box::new(stream), current) {
                Ok(secured) => {
                    self.metrics.count_handshake("ok");
                    return Some(secured);
                }
                Err((failure, stream)) => (failure, Some(stream.into_inner().0)),
            },
            Ok(Err((error, stream))) => (HandshakeFailure::of(&error), Some(stream)),
            Err(_) => (HandshakeFailure::too_slow(), None),
        };
        // Load balancers connect and close to see whether somebody listens.
        if failure.result != "closed" || state.has_read() {
            self.report(&failure, remote);
        }
        if let Some(stream) = stream {
            close(stream).await;
        }
        None
    }

    /// Polls a handshake, but never more than [`MAX_CONCURRENT_POLLS`] at a time.
    async fn with_limited_polls<F: Future>(&self, handshake: F) -> F::Output {
        let (mut handshake, mut polls) = (pin!(handshake), self.polls.clone());
        poll_fn(|cx| {
            let _permit = ready!(polls.poll_acquire(cx));
            Pin::as_mut(&mut handshake).poll(cx)
        })
        .await
    }

    fn report(&self, failure: &HandshakeFailure, remote: SocketAddr) {
        self.metrics.count_handshake(failure.result);
        let (result, error) = (failure.result, failure.error.as_str());
        let address = remote.ip().to_canonical();
        warn!(result, error, %address, "TLS handshake failed");
    }
}

/// Demands HTTP/2 from a client whose handshake has succeeded, and finds out who it is.
fn secure<S>(
    stream: Box<TlsStream<S>>,
    current: watch::Receiver<Arc<ServerTls>>,
) -> Result<Secured<S>, (HandshakeFailure, Box<TlsStream<S>>)> {
    let session = stream.get_ref().1;
    // rustls lets in a client that offers no protocol at all.
    if session.alpn_protocol().is_none() {
        return Err((HandshakeFailure::no_alpn(), stream));
    }
    let Some([leaf, intermediates @ ..]) = session.peer_certificates() else {
        let (identity, trust) = (Identity::of_anonymous_client(), None);
        return Ok(Secured {
            stream,
            identity,
            trust,
        });
    };
    let read = Certificate::from_der(leaf).map_err(|_| "the certificate cannot be read");
    let read = read.and_then(|leaf| {
        let not_after = leaf.tbs_certificate.validity.not_after.to_system_time();
        Ok((Identity::of_certificate(&leaf)?, not_after))
    });
    let (identity, not_after) = match read {
        Ok(read) => read,
        Err(why) => return Err((HandshakeFailure::bad_identity(why), stream)),
    };
    let chain = [leaf].into_iter().chain(intermediates).cloned().collect();
    let trust = Trust {
        chain,
        not_after,
        current,
    };
    Ok(Secured {
        stream,
        identity,
        trust: Some(trust),
    })
}
