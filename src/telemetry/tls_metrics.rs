//! The metrics of TLS.

use opentelemetry::{KeyValue, metrics::Counter};

use super::{gauges::gauge, metrics::meter};

/// How a handshake can end.
pub(crate) const RESULTS: [&str; 20] = [
    "ok",
    "no_certificate",
    "unknown_ca",
    "expired",
    "not_yet_valid",
    "revoked",
    "unknown_revocation_status",
    "crl_expired",
    "wrong_purpose",
    "bad_certificate",
    "bad_identity",
    "no_alpn",
    "old_version",
    "incompatible",
    "not_tls",
    "too_slow",
    "evicted",
    "refused_by_client",
    "closed",
    "other",
];

/// The instruments of TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsMetrics {
    handshakes: Counter<u64>,
    reloads: Counter<u64>,
}

impl TlsMetrics {
    /// Must be called after the meter provider is set. `not_after` is when the server's certificate ends, in seconds since
    /// 1970.
    pub(crate) fn new(not_after: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let meter = meter();
        gauge(&meter, "reset_gateway.tls.certificate.not_after", not_after)
            .with_unit("s")
            .with_description("When the server's certificate ends, in seconds since 1970.")
            .build();
        let count = |name: &'static str, unit| meter.u64_counter(name).with_unit(unit);
        let metrics = Self {
            handshakes: count("reset_gateway.tls.handshakes", "{handshake}")
                .with_description("TLS handshakes by result.")
                .build(),
            reloads: count("reset_gateway.tls.reloads", "{reload}")
                .with_description(
                    "New certificates, keys and lists, by whether they could be used.",
                )
                .build(),
        };
        // Prometheus sees no increase in a counter that begins at one.
        for result in RESULTS {
            metrics
                .handshakes
                .add(0, &[KeyValue::new("result", result)]);
        }
        for result in ["ok", "failed"] {
            metrics.reloads.add(0, &[KeyValue::new("result", result)]);
        }
        metrics
    }

    /// Counts a handshake by one of [`RESULTS`].
    pub(crate) fn count_handshake(&self, result: &'static str) {
        self.handshakes.add(1, &[KeyValue::new("result", result)]);
    }

    /// Counts that files have changed.
    pub(crate) fn count_reload(&self, is_usable: bool) {
        let result = if is_usable { "ok" } else { "failed" };
        self.reloads.add(1, &[KeyValue::new("result", result)]);
    }
}
