//! The OTLP exporters. Endpoint, headers and compression are read by the SDK; the certificates are not.

use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use reqwest::{Certificate, Identity, blocking::Client};
use tonic::transport::{Certificate as TonicCertificate, ClientTlsConfig, Identity as TonicIdentity};

use crate::config::{
    ConfigError,
    otel::{Otlp, Protocol},
};

const HTTP: opentelemetry_otlp::Protocol = opentelemetry_otlp::Protocol::HttpBinary;

/// The exporter of spans. Must be called within a tokio runtime.
///
/// # Errors
///
/// If a variable has a value that the exporter cannot use.
pub(super) fn spans(config: &Otlp) -> Result<SpanExporter, ConfigError> {
    let exporter = match config.protocol {
        Protocol::Grpc if is_secured(config) => {
            SpanExporter::builder().with_tonic().with_timeout(config.timeout).with_tls_config(tls(config)).build()
        }
        Protocol::Grpc => SpanExporter::builder().with_tonic().with_timeout(config.timeout).build(),
        Protocol::HttpProtobuf => SpanExporter::builder()
            .with_http()
            .with_protocol(HTTP)
            .with_timeout(config.timeout)
            .with_http_client(client(config)?)
            .build(),
    };
    exporter.map_err(|error| unusable(config, &error))
}

/// The exporter of metrics. Must be called within a tokio runtime.
///
/// # Errors
///
/// If a variable has a value that the exporter cannot use.
pub(super) fn metrics(config: &Otlp) -> Result<MetricExporter, ConfigError> {
    let exporter = match config.protocol {
        Protocol::Grpc if is_secured(config) => {
            MetricExporter::builder().with_tonic().with_timeout(config.timeout).with_tls_config(tls(config)).build()
        }
        Protocol::Grpc => MetricExporter::builder().with_tonic().with_timeout(config.timeout).build(),
        Protocol::HttpProtobuf => MetricExporter::builder()
            .with_http()
            .with_protocol(HTTP)
            .with_timeout(config.timeout)
            .with_http_client(client(config)?)
            .build(),
    };
    exporter.map_err(|error| unusable(config, &error))
}

/// The error's own text holds the endpoint, which may hold a password.
fn unusable(config: &Otlp, _: &ExporterBuildError) -> ConfigError {
    ConfigError::variable(&config.endpoint_variable, "takes an http or https URL, such as http://127.0.0.1:4317")
}

/// Whether there is more to TLS than the SDK sets up by itself.
fn is_secured(config: &Otlp) -> bool {
    config.ca.is_some() || config.identity.is_some()
}

fn tls(config: &Otlp) -> ClientTlsConfig {
    let mut tls = ClientTlsConfig::new().with_enabled_roots();
    if let Some(ca) = &config.ca {
        tls = tls.ca_certificate(TonicCertificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &config.identity {
        tls = tls.identity(TonicIdentity::from_pem(certificate, key));
    }
    tls
}

/// A blocking client, since the SDK exports from a thread of its own. It is made in such a thread too: reqwest does not
/// allow it within a runtime.
fn client(config: &Otlp) -> Result<Client, ConfigError> {
    let made = std::thread::scope(|scope| scope.spawn(|| make_client(config)).join());
    let takes = "takes PEM files of certificates that fit together";
    made.ok().and_then(Result::ok).ok_or_else(|| ConfigError::variable("OTEL_EXPORTER_OTLP_CERTIFICATE", takes))
}

fn make_client(config: &Otlp) -> reqwest::Result<Client> {
    let mut client = Client::builder().no_proxy().timeout(config.timeout);
    if let Some(ca) = &config.ca {
        client = client.tls_certs_merge(Certificate::from_pem_bundle(ca)?);
    }
    if let Some((certificate, key)) = &config.identity {
        client = client.identity(Identity::from_pem(&[certificate.as_slice(), b"\n", key].concat())?);
    }
    client.build()
}
