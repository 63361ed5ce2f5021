//! The OTLP exporters. Headers and compression are read by the SDK, and over HTTP the endpoint; the certificates are not.

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_otlp::{
    MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use reqwest::{Certificate, Identity, blocking::Client};
use tonic::transport::{
    Certificate as TonicCertificate, Channel, ClientTlsConfig, Endpoint, Identity as TonicIdentity,
};

use crate::config::{
    ConfigError,
    otel::collector::{Otlp, Protocol},
};

const HTTP: opentelemetry_otlp::Protocol = opentelemetry_otlp::Protocol::HttpBinary;

/// The exporter of spans. Must be called within a tokio runtime.
///
/// # Errors
///
/// If a variable has a value that the exporter cannot use.
pub(super) fn spans(config: &Otlp) -> Result<SpanExporter, ConfigError> {
    let exporter = match config.protocol {
        Protocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_timeout(config.timeout)
            .with_channel(channel(config)?)
            .build(),
        Protocol::HttpProtobuf => SpanExporter::builder()
            .with_http()
            .with_protocol(HTTP)
            .with_timeout(config.timeout)
            .with_http_client(client(config)?)
            .build(),
    };
    exporter.map_err(|_| unusable(config))
}

/// The exporter of metrics. Must be called within a tokio runtime.
///
/// # Errors
///
/// If a variable has a value that the exporter cannot use.
pub(super) fn metrics(config: &Otlp) -> Result<MetricExporter, ConfigError> {
    let exporter = match config.protocol {
        Protocol::Grpc => MetricExporter::builder()
            .with_tonic()
            .with_timeout(config.timeout)
            .with_channel(channel(config)?)
            .build(),
        Protocol::HttpProtobuf => MetricExporter::builder()
            .with_http()
            .with_protocol(HTTP)
            .with_timeout(config.timeout)
            .with_http_client(client(config)?)
            .build(),
    };
    exporter.map_err(|_| unusable(config))
}

/// The error's own text holds the endpoint, which may hold a password.
fn unusable(config: &Otlp) -> ConfigError {
    ConfigError::variable(
        &config.endpoint_variable,
        "takes an http or https URL, such as http://127.0.0.1:4317",
    )
}

/// Made here, since the SDK's own waits for a connection without end.
fn channel(config: &Otlp) -> Result<Channel, ConfigError> {
    let address = config
        .endpoint
        .clone()
        .unwrap_or_else(|| "http://localhost:4317".to_owned());
    let is_secured = address.starts_with("https:");
    let endpoint = Endpoint::from_shared(address)
        .map(|to| to.timeout(config.timeout).connect_timeout(config.timeout));
    let endpoint = endpoint.and_then(|to| {
        if is_secured {
            to.tls_config(tls(config))
        } else {
            Ok(to)
        }
    });
    // By a connector of its own the time to connect includes TLS.
    endpoint
        .map(|to| to.connect_with_connector_lazy(tcp()))
        .map_err(|_| unusable(config))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
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

/// A blocking client, since exports are made from threads of their own. It is made in such a thread too: reqwest does not
/// allow it within a runtime.
fn client(config: &Otlp) -> Result<Client, ConfigError> {
    let made = std::thread::scope(|scope| scope.spawn(|| make_client(config)).join());
    let takes = "takes PEM files of certificates that fit together";
    made.ok()
        .and_then(Result::ok)
        .ok_or_else(|| ConfigError::variable("OTEL_EXPORTER_OTLP_CERTIFICATE", takes))
}

fn make_client(config: &Otlp) -> reqwest::Result<Client> {
    let mut client = Client::builder().no_proxy().timeout(config.timeout);
    if let Some(ca) = &config.ca {
        client = client.tls_certs_merge(Certificate::from_pem_bundle(ca)?);
    }
    if let Some((certificate, key)) = &config.identity {
        client = client.identity(Identity::from_pem(
            &[certificate.as_slice(), b"\n", key].concat(),
        )?);
    }
    client.build()
}
